//! nginx over one folder: the rival that everybody has.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{Process, wait};

/// A certificate and its key.
#[derive(Debug)]
pub struct Certificate {
    folder: TempDir,
}

impl Certificate {
    /// A self-signed one for `localhost`, P-256.
    ///
    /// # Errors
    /// When openssl fails.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut openssl = Command::new("openssl");
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "9",
        ]);
        openssl
            .args(["-subj", "/CN=localhost", "-keyout"])
            .arg(folder.path().join("k.pem"));
        let output = openssl
            .arg("-out")
            .arg(folder.path().join("c.pem"))
            .output()
            .context("running openssl")?;
        ensure!(
            output.status.success(),
            "openssl: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Self { folder })
    }
}

/// A running nginx; ended on drop.
#[derive(Debug)]
pub struct Server {
    /// The master process.
    pub process: Process,
    // Its configuration and temporary files.
    _folder: TempDir,
}

/// Serves `root` at `address:port`: plain, or TLS 1.3 with `certificate`. `nginx` is the command to run it by, so that it may
/// run inside a namespace.
///
/// # Errors
/// When nginx does not start within 10 s.
pub fn serve(
    mut nginx: Command,
    root: &Path,
    address: &str,
    port: u16,
    certificate: Option<&Certificate>,
) -> Result<Server> {
    let folder = tempfile::tempdir()?;
    let own = folder.path();
    let (flag, tls) = certificate.map_or_else(Default::default, |certificate| {
        let keys = certificate.folder.path().display();
        (
            " ssl",
            format!("ssl_certificate {keys}/c.pem; ssl_certificate_key {keys}/k.pem; ssl_protocols TLSv1.3;"),
        )
    });
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind}; ", own.display()))
        .concat();
    let user = if crate::usage::is_root() { "user root; " } else { "" };
    let configuration = format!(
        "daemon off; {user}worker_processes 1; error_log {0}/error.log; pid {0}/pid; events {{}}\n\
         http {{ access_log off; sendfile on; tcp_nopush on; {temporary}\n\
         server {{ listen {address}:{port}{flag}; {tls} root {1}; }} }}\n",
        own.display(),
        root.display()
    );
    let file = own.join("nginx.conf");
    fs::write(&file, configuration)?;
    let process = Process::start(nginx.arg("-c").arg(&file).args(["-e"]).arg(own.join("error.log")))?;
    // The master writes its number once it listens.
    wait::until("nginx to listen", Duration::from_secs(10), || {
        ensure!(
            process.is_running(),
            "nginx ended: {:?} {}",
            process.lines(),
            fs::read_to_string(own.join("error.log")).unwrap_or_default()
        );
        Ok(fs::metadata(own.join("pid"))
            .is_ok_and(|pid| pid.len() > 0)
            .then_some(()))
    })?;
    Ok(Server {
        process,
        _folder: folder,
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        // The workers end with their master only when it may tell them.
        let _ = self.process.terminate(Duration::from_secs(5));
    }
}
