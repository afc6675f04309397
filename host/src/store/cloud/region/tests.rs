//! Buckets of a server that stands in for all of Amazon's.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use super::super::http::Connectivity;
use super::super::s3::Amazon;
use super::*;
use crate::ErrorKind;
use crate::secret::Secret;
use crate::store::Replica;

const ELSEWHERE: &str = "301 Moved Permanently\r\nx-amz-bucket-region: eu-south-1";
const NOTHING: &str = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";

/// Answers one request after the other; a request is `METHOD PATH`, without its query, and then
/// what it is signed for, if it is.
fn server(answers: &[(&str, &str)]) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked, told) = channel();
    let answers: Vec<_> = answers
        .iter()
        .map(|(head, body)| {
            let len = body.len();
            format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n{body}")
        })
        .collect();
    std::thread::spawn(move || {
        for (answer, stream) in answers.into_iter().zip(listener.incoming()) {
            let stream = stream.unwrap();
            let lines = BufReader::new(&stream).lines().map(|line| line.unwrap());
            let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
            let what = head[0].split([' ', '?']).take(2).collect::<Vec<_>>();
            let scope = head.iter().find_map(|line| {
                let (_, scope) = line.split_once("Credential=id/")?;
                Some(scope.split(['/', ',']).nth(1)?.to_owned())
            });
            let scope = scope.map_or_else(String::new, |scope| format!(" {scope}"));
            asked.send(what.join(" ") + &scope).unwrap();
            (&stream).write_all(answer.as_bytes()).unwrap();
        }
    });
    (url, told)
}

fn place(url: &str) -> S3Place {
    S3Place {
        bucket: "b".into(),
        path: "p".into(),
        force_path_style: Some(true),
        access_key_id: Some(Secret::new("id".into())),
        secret_access_key: Some(Secret::new("key".into())),
        amazon: Amazon::At(url.into()),
        connectivity: Connectivity::default(),
        ..S3Place::default()
    }
}

async fn lists_nothing(replica: &Replica) {
    assert_eq!(replica.list_all().await.unwrap(), []);
}

#[tokio::test]
async fn the_region_of_a_bucket_is_asked_for_once_for_all_databases_in_it() {
    let nothing = ("200 OK", NOTHING);
    let (url, asked) = server(&[(ELSEWHERE, ""), nothing, nothing, nothing]);
    let place = place(&url);
    let replica = place.open().unwrap();
    assert!(asked.try_recv().is_err(), "nothing is sent yet");
    assert_eq!(replica.to_string(), "s3://b/p");
    assert!(replica.store().excludes_races(1));
    lists_nothing(&replica).await;
    lists_nothing(&replica).await;
    assert_eq!((replica.requests().head, replica.requests().list), (1, 2));
    let other = place
        .below(std::path::Path::new("other.db"))
        .open()
        .unwrap();
    lists_nothing(&other).await;
    assert_eq!((other.requests().head, other.requests().list), (0, 1));
    let list = "GET /eu-south-1/b eu-south-1";
    assert_eq!(
        asked.iter().collect::<Vec<_>>(),
        ["HEAD /any/b", list, list, list]
    );
}

#[tokio::test]
async fn a_region_that_cannot_be_found_out_is_asked_for_again_the_next_time() {
    let (url, asked) = server(&[
        ("403 Forbidden", ""),
        ("404 Not Found", ""),
        ("403 Forbidden\r\nx-amz-bucket-region: a b", ""),
        ("200 OK\r\nx-amz-bucket-region: us-east-1", ""),
        ("200 OK", NOTHING),
    ]);
    let replica = place(&url).open().unwrap();
    for setting in ["`region`", "`bucket`", "`region`"] {
        let error = replica.list_all().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let text = error.to_string();
        assert!(text.contains(setting) && text.contains(" b "), "{text}");
    }
    lists_nothing(&replica).await;
    assert_eq!(replica.requests().head, 4);
    assert_eq!(asked.iter().last().unwrap(), "GET /us-east-1/b us-east-1");
}

#[tokio::test]
async fn a_region_or_an_endpoint_that_is_configured_is_not_asked_about() {
    let (url, asked) = server(&[("200 OK", NOTHING), ("200 OK", NOTHING)]);
    let with_region = S3Place {
        region: Some("eu-west-1".into()),
        ..place(&url)
    };
    lists_nothing(&with_region.open().unwrap()).await;
    let with_endpoint = S3Place {
        endpoint: Some(url.clone()),
        ..place(&url)
    };
    lists_nothing(&with_endpoint.open().unwrap()).await;
    let expected = ["GET /eu-west-1/b eu-west-1", "GET /b us-east-1"];
    assert_eq!(asked.iter().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_bucket_that_is_in_another_region_is_an_error_that_names_it() {
    // Amazon says it in one of these ways.
    let malformed = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization \
                     header is malformed</Message><Region>eu-south-1</Region></Error>";
    let permanent = "<Error><Code>PermanentRedirect</Code><Message>The bucket you are attempting \
                     to access must be addressed using the specified endpoint</Message></Error>";
    for answer in [(ELSEWHERE, permanent), ("400 Bad Request", malformed)] {
        let (url, _asked) = server(&[answer]);
        let wrong = S3Place {
            region: Some("eu-west-1".into()),
            ..place(&url)
        };
        let error = wrong.open().unwrap().list_all().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let text = error.to_string();
        assert!(text.contains("set `region: eu-south-1`"), "{text}");
    }
}
