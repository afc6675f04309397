//! Real servers of object stores, on ports of their own. `.ci/setup` installs them.
//!
//! Each is started once for all tests of a binary, and ends with it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use tempfile::TempDir;

use crate::tools::tool;

/// How long a server may take to answer for the first time.
const START_DEADLINE: Duration = Duration::from_secs(60);
const START_PAUSE: Duration = Duration::from_millis(50);
/// How long it may take to answer one request of the preparations.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// The bucket or container that there is on every server.
pub const BUCKET: &str = "lockkeeper";
/// What S3 clients sign with.
pub const KEY_ID: &str = "test-key";
/// See [`KEY_ID`].
pub const SECRET: &str = "test-secret";
/// The account on Azurite.
pub const ACCOUNT: &str = "lockkeeper";
/// Its key.
pub const ACCOUNT_KEY: &str = "bG9ja2tlZXBlci10ZXN0LWtleQ==";

/// Runs a server until the standard input is closed: at the latest when the tests have ended,
/// however they did.
const WATCH: &str =
    r#"log="$1"; shift; "$@" </dev/null >>"$log" 2>&1 & read -r _; kill -9 $!; wait"#;

/// A server with a bucket.
#[derive(Debug)]
pub struct Server {
    /// What it is called.
    pub name: &'static str,
    /// The keys of a replica on it, but for its path.
    keys: String,
    /// Where it listens.
    pub address: SocketAddr,
    process: Child,
    command: Command,
    folder: TempDir,
}

impl Server {
    /// A replica on this server, as a `litestream.yml` has it.
    #[must_use]
    pub fn replica(&self, path: &str) -> String {
        format!("{{{}, path: '{path}'}}", self.keys)
    }

    /// The same, with more keys, such as `part-size: 6MiB`.
    #[must_use]
    pub fn replica_with(&self, path: &str, more: &str) -> String {
        format!("{{{}, {more}, path: '{path}'}}", self.keys)
    }

    /// SeaweedFS, which speaks S3 and verifies signatures.
    #[must_use]
    pub fn seaweedfs() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Server>> = OnceLock::new();
        SERVER.get_or_init(seaweedfs).as_ref()
    }

    /// moto, which speaks S3 and takes any signature.
    #[must_use]
    pub fn moto() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Server>> = OnceLock::new();
        SERVER.get_or_init(moto).as_ref()
    }

    /// moto over TLS, with a certificate that nobody vouches for.
    #[must_use]
    pub fn moto_over_tls() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Server>> = OnceLock::new();
        SERVER.get_or_init(moto_over_tls).as_ref()
    }

    /// Azurite, which speaks Azure Blob.
    #[must_use]
    pub fn azurite() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Server>> = OnceLock::new();
        SERVER.get_or_init(azurite).as_ref()
    }

    /// A SeaweedFS of the test's own, which it may kill.
    #[must_use]
    pub fn mortal_seaweedfs() -> Option<Self> {
        seaweedfs()
    }

    /// Ends it as a crash does: it runs not one instruction more. What it wrote to its disk stays.
    pub fn kill(&mut self) {
        // Both what watches it and the server itself end.
        drop(self.process.stdin.take());
        self.process.wait().expect("wait for a server");
        while TcpStream::connect(self.address).is_ok() {
            std::thread::sleep(START_PAUSE);
        }
    }

    /// Starts it again where it was, and returns when it listens; that it can do its work may take
    /// longer.
    pub fn start_again(&mut self) {
        self.process = self.command.spawn().expect("start a server");
        self.wait_for_listener();
    }

    fn start(name: &'static str, keys: String, address: SocketAddr, command: &Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, name, keys, address, command)
    }

    fn start_in(
        folder: TempDir,
        name: &'static str,
        keys: String,
        address: SocketAddr,
        command: &Command,
    ) -> Self {
        let mut watched = Command::new("sh");
        watched
            .args(["-c", WATCH, "sh"])
            .arg(folder.path().join("log"));
        watched.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            watched.env(name, value.expect("nothing is removed"));
        }
        watched.current_dir(folder.path()).stdin(Stdio::piped());
        Self {
            name,
            keys,
            address,
            process: watched.spawn().expect("start a server"),
            command: watched,
            folder,
        }
    }

    /// Connects until somebody listens, who is asked for nothing.
    fn wait_for_listener(&self) {
        let deadline = Instant::now() + START_DEADLINE;
        while let Err(error) = TcpStream::connect(self.address) {
            assert!(Instant::now() < deadline, "{}: {error}", self.name);
            std::thread::sleep(START_PAUSE);
        }
    }

    /// Sends a request until the answer is as wanted. A server has no other way to say that it is
    /// ready.
    fn wait_for(&self, address: SocketAddr, what: &str, headers: &[String], wanted: u16) {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let answer = ask(address, what, headers);
            if answer.as_ref().is_ok_and(|status| *status == wanted) {
                return;
            }
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(self.folder.path().join("log"));
                panic!(
                    "{what} at {address}: {answer:?}\n{}",
                    log.unwrap_or_default()
                );
            }
            std::thread::sleep(START_PAUSE);
        }
    }
}

fn s3_keys(address: SocketAddr) -> String {
    format!(
        "type: s3, bucket: {BUCKET}, endpoint: 'http://{address}', region: us-east-1, \
         access-key-id: {KEY_ID}, secret-access-key: {SECRET}"
    )
}

fn seaweedfs() -> Option<Server> {
    let binary = tool("seaweedfs-4.48/bin/weed")?;
    let [master, volume, filer, s3] = [(); 4].map(|()| [free_port(), free_port()]);
    let mut command = Command::new(binary);
    command.args(["server", "-dir=.", "-ip=127.0.0.1", "-filer", "-s3"]);
    command.args(["-volume.max=20", "-master.volumeSizeLimitMB=64"]);
    for (name, [http, grpc]) in [
        ("master", master),
        ("volume", volume),
        ("filer", filer),
        ("s3", s3),
    ] {
        command.arg(format!("-{name}.port={http}"));
        command.arg(format!("-{name}.port.grpc={grpc}"));
    }
    // These would be the same for every instance.
    command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("identities.json"),
        format!(
            r#"{{"identities": [{{"name": "test", "actions": ["Admin"],
            "credentials": [{{"accessKey": "{KEY_ID}", "secretKey": "{SECRET}"}}]}}]}}"#
        ),
    )
    .unwrap();
    command.arg("-s3.config=identities.json");
    let address = local(s3[0]);
    let server = Server::start_in(folder, "SeaweedFS", s3_keys(address), address, &command);
    // It answers before it can write.
    let filer = local(filer[0]);
    server.wait_for(filer, "PUT /probe", &[], 201);
    server.wait_for(filer, &format!("POST /buckets/{BUCKET}/"), &[], 201);
    server.wait_for(address, "GET /", &[], 403);
    Some(server)
}

fn moto() -> Option<Server> {
    let (address, command) = moto_command()?;
    let server = Server::start("moto", s3_keys(address), address, &command);
    server.wait_for(address, &format!("PUT /{BUCKET}"), &[], 200);
    Some(server)
}

fn moto_over_tls() -> Option<Server> {
    let (address, mut command) = moto_command()?;
    command.arg("-s");
    let keys = s3_keys(address).replace("http://", "https://");
    let server = Server::start("moto over TLS", keys, address, &command);
    server.wait_for_listener();
    Some(server)
}

fn moto_command() -> Option<(SocketAddr, Command)> {
    let folder = tool("moto-5.2.5")?;
    let address = local(free_port());
    let mut command = Command::new("python3");
    command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p"]);
    command.arg(address.port().to_string());
    command.env("PYTHONPATH", folder);
    Some((address, command))
}

fn azurite() -> Option<Server> {
    let script = tool("azurite-3.37.0/node_modules/.bin/azurite-blob")?;
    let address = local(free_port());
    let mut command = Command::new(script);
    command.args(["--inMemoryPersistence", "--skipApiVersionCheck", "--silent"]);
    command.args([
        "--disableTelemetry",
        "--blobHost",
        "127.0.0.1",
        "--blobPort",
    ]);
    command.arg(address.port().to_string());
    command.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{ACCOUNT_KEY}"));
    let endpoint = format!("http://{address}/{ACCOUNT}");
    let keys = format!(
        "type: abs, bucket: {BUCKET}, endpoint: '{endpoint}', account-name: {ACCOUNT}, \
         account-key: '{ACCOUNT_KEY}'"
    );
    let server = Server::start("Azurite", keys, address, &command);
    let target = format!("/{ACCOUNT}/{BUCKET}?restype=container");
    let headers = azure_headers(&format!("http://{address}{target}"));
    server.wait_for(address, &format!("PUT {target}"), &headers, 201);
    Some(server)
}

/// What an account signs a request with.
fn azure_headers(url: &str) -> Vec<String> {
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = http::Method::PUT;
    *request.uri_mut() = url.parse().unwrap();
    let key = AzureCredential::AccessKey(AzureAccessKey::try_new(ACCOUNT_KEY).unwrap());
    AzureAuthorizer::new(&key, ACCOUNT)
        .try_authorize(&mut request)
        .unwrap();
    let headers = request.headers().iter();
    headers
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect()
}

/// A port that nobody listened on a moment ago, and that no connection gets by itself: those are
/// numbered from 32768 on.
#[must_use]
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(20_000..32_000);
        if TcpListener::bind(local(port)).is_ok() {
            return port;
        }
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Sends a request without a body; returns the status of the answer.
fn ask(address: SocketAddr, what: &str, headers: &[String]) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut request = format!("{what} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for header in headers {
        request += &format!("{header}\r\n");
    }
    let body = if what == "PUT /probe" { "x" } else { "" };
    request += &format!("content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|text| text.parse().ok());
    status.ok_or_else(|| std::io::Error::other("no status"))
}
