//! What a replica remembers of its own end, so that a lost newest file shows.

use lockkeeper_core::ownership::{MARKER_KEY, Marker};
use lockkeeper_ltx::Txid;

use super::{RestorePlan, Target};
use crate::store::Replica;
use crate::{Error, Result};

/// The last transaction that a restore of `target` must reach at least; `None` if nothing says so,
/// as for a replica that only Litestream wrote. Ask before the replica is listed: it may grow.
///
/// # Errors
///
/// [`crate::ErrorKind::Unavailable`] if the replica does not answer. What cannot be understood says
/// nothing, and is logged.
pub async fn expected_txid(replica: &Replica, target: Target) -> Result<Option<Txid>> {
    if target != Target::Latest {
        return Ok(None);
    }
    let Some((bytes, _)) = replica.store().get_small(MARKER_KEY).await? else {
        return Ok(None);
    };
    match Marker::parse(&bytes) {
        Ok(marker) => Ok(marker.head()),
        Err(error) => {
            tracing::warn!(%replica, %error, "nothing says where the replica should end");
            Ok(None)
        }
    }
}

/// # Errors
///
/// [`crate::ErrorKind::Corrupt`] if a plan ends before what it must reach.
pub fn check_reaches(replica: &Replica, plan: &RestorePlan, expected: Option<Txid>) -> Result<()> {
    let reached = match plan {
        RestorePlan::Ltx(plan) => Some(plan.txid()),
        RestorePlan::Generation(_) => None,
    };
    match expected {
        Some(expected) if reached < Some(expected) => {
            let reached = reached.map_or_else(
                || "a generation of Litestream 0.3".to_owned(),
                |txid| txid.to_string(),
            );
            Err(Error::corrupt(format!(
                "{replica} leads to {reached} only, but {expected} was durable: the files after it \
                 are missing. What there is can be restored if a missing tail is allowed, or by \
                 its transaction id"
            )))
        }
        _ => Ok(()),
    }
}
