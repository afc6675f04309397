//! Opens the port, and says in words why it cannot.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Result, anyhow};
use tokio::net::{TcpListener, lookup_host};

/// Listens at `HOST:PORT`, or with `:PORT` at every address of the machine.
///
/// # Errors
///
/// If the address makes no sense, is in use, or needs a permission; says what to do.
pub(crate) async fn listen(address: &str) -> Result<TcpListener> {
    bind(address)
        .await
        .map_err(|error| refused(address, &error))
}

async fn bind(address: &str) -> io::Result<TcpListener> {
    let addresses: Vec<SocketAddr> = match address.strip_prefix(':') {
        Some(port) => {
            let port: u16 = port
                .parse()
                .map_err(|_| io::Error::new(ErrorKind::InvalidInput, "not a port"))?;
            // The first takes IPv4 along, but is not there where IPv6 is turned off.
            vec![
                (Ipv6Addr::UNSPECIFIED, port).into(),
                (Ipv4Addr::UNSPECIFIED, port).into(),
            ]
        }
        None => lookup_host(address).await?.collect(),
    };
    TcpListener::bind(addresses.as_slice()).await
}

fn refused(address: &str, error: &io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::AddrInUse => anyhow!(
            "cannot listen on {address}: address already in use: end the program that uses it, or \
             give another one with -addr"
        ),
        ErrorKind::PermissionDenied => anyhow!(
            "cannot listen on {address}: permission denied: ports below 1024 need a capability; \
             grant it with `sudo setcap cap_net_bind_service=+ep {}`, or give another port with \
             -addr",
            program()
        ),
        _ => anyhow!("cannot listen on {address}: {error}"),
    }
}

/// The file of this program, as a shell takes it.
fn program() -> String {
    let Ok(path) = std::env::current_exe() else {
        return "./myapp".to_owned();
    };
    let path = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    if path.chars().all(is_plain) {
        path
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_colon_and_a_port_mean_every_address_of_the_machine() {
        let listener = listen(":0").await.unwrap();
        assert!(listener.local_addr().unwrap().ip().is_unspecified());
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_refused_by_name() {
        for wrong in [":http", "8080", "127.0.0.1:70000", ""] {
            let error = listen(wrong).await.unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("cannot listen on {wrong}: ")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_privileged_port_comes_with_the_command_that_allows_it() {
        let error = refused(":80", &io::Error::from(ErrorKind::PermissionDenied)).to_string();
        let program = std::env::current_exe().unwrap();
        let command = format!(
            "`sudo setcap cap_net_bind_service=+ep {}`",
            program.display()
        );
        assert!(error.contains(&command), "{error}");
    }
}
