//! The Docker engine and `docker-compose`, where they can be had.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{Finished, Process, binary, namespace, skip, usage, wait};

/// What makes the program static; the same words as in `.ci/run` and README.md, so that nothing is built twice.
const STATIC: &str = "-C target-feature=+crt-static";
/// How long an engine may take to start.
const ENGINE_START: Duration = Duration::from_secs(30);
/// How long it may take to say what it knows.
const ENGINE_ANSWER: Duration = Duration::from_secs(30);

/// How long a connection may take where nothing says no.
const CONNECT: Duration = Duration::from_secs(3);

/// An engine that answers: one that ran already, or one started here, in a session of its own: it outlives this program.
///
/// # Errors
/// Why there is none.
pub fn engine() -> Result<()> {
    ensure!(skip::has("docker"), "`docker` is not installed");
    if answers() {
        return Ok(());
    }
    ensure!(
        usage::is_root(),
        "no Docker engine answers, and starting one needs root"
    );
    ensure!(skip::has("dockerd"), "`dockerd` is not installed");
    let log = std::fs::File::create(std::env::temp_dir().join("samara-dockerd.log"))?;
    let started = Command::new("setsid")
        .arg("dockerd")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("starting dockerd")?;
    wait::until("the Docker engine to answer", ENGINE_START, || {
        Ok(answers().then_some(()))
    })
    .with_context(|| format!("dockerd {} does not answer", started.id()))
}

fn answers() -> bool {
    let asked = Command::new("docker")
        .args(["info", "--format", "{{.ServerVersion}}"])
        .output();
    asked.is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
}

/// Builds the static program by the README's command: the same source, linked with nothing outside itself.
///
/// # Errors
/// What cargo said.
pub fn static_binary() -> Result<PathBuf> {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let target = binary::target_folder()?;
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut build = Command::new(cargo);
    build.args(["build", "--locked", "--release", "--bin", "samara", "--target", &triple]);
    build.arg("--target-dir").arg(&target).env("RUSTFLAGS", STATIC);
    build.current_dir(binary::repository());
    // Beside other tests on two busy cores twenty minutes were not enough.
    Finished::of(&mut build, Duration::from_secs(3600))?.success()?;
    Ok(target.join(triple).join("release/samara"))
}

/// Whether the engine lets nothing out of the network of that number.
///
/// # Errors
/// When there is no such network.
pub fn is_internal(network: &str) -> Result<bool> {
    let mut inspect = Command::new("docker");
    inspect.args(["network", "inspect", "--format", "{{.Internal}}", network]);
    let asked = Finished::of(&mut inspect, ENGINE_ANSWER)?.success()?;
    Ok(asked.text().trim() == "true")
}

/// What the images are built from: the static program, a shell for the set-up, an empty folder.
///
/// # Errors
/// When something is missing or cannot be copied.
pub fn image_context(program: &Path) -> Result<TempDir> {
    let context = tempfile::tempdir()?;
    let busybox = skip::find("busybox").context("`busybox` is not installed (Debian: busybox-static)")?;
    std::fs::copy(program, context.path().join("samara"))?;
    std::fs::copy(busybox, context.path().join("busybox"))?;
    std::fs::create_dir(context.path().join("data"))?;
    Ok(context)
}

/// The services of `docker-compose.yml` under a project name of their own; removed with their volumes on drop.
#[derive(Debug)]
pub struct Compose {
    project: String,
    images: TempDir,
    origin_up: String,
}

impl Compose {
    /// Builds the images and brings everything up in the background, the origin's uplink limited to `origin_up`.
    ///
    /// # Errors
    /// What `docker-compose` said.
    pub fn up(project: &str, images: TempDir, origin_up: &str) -> Result<Self> {
        let compose = Self {
            project: project.to_owned(),
            images,
            origin_up: origin_up.to_owned(),
        };
        compose.run(&["build", "set-up", "origin"])?;
        compose.run(&["up", "--detach", "--no-build"])?;
        Ok(compose)
    }

    /// `docker-compose` with these arguments, to its end.
    ///
    /// # Errors
    /// What it said when it failed.
    pub fn run(&self, arguments: &[&str]) -> Result<Finished> {
        Finished::of(&mut self.command(arguments), Duration::from_secs(180))?.success()
    }

    /// A program inside a service's container, to its end.
    ///
    /// # Errors
    /// What it said when it failed.
    pub fn exec(&self, service: &str, arguments: &[&str]) -> Result<Finished> {
        self.run(&[&["exec", "-T", service], arguments].concat())
    }

    /// Waits until the service's health check passes.
    ///
    /// # Errors
    /// The container's last lines when it does not within `limit`.
    pub fn healthy(&self, service: &str, limit: Duration) -> Result<()> {
        let format = "{{if .State.Health}}{{.State.Health.Status}}{{end}}";
        self.reaches(service, format, "healthy", limit)
    }

    /// Waits until the service's container has ended with 0.
    ///
    /// # Errors
    /// The container's last lines when it does not within `limit`.
    pub fn ended(&self, service: &str, limit: Duration) -> Result<()> {
        self.reaches(service, "{{.State.Status}} {{.State.ExitCode}}", "exited 0", limit)
    }

    /// What the engine knows of a service's container, in Go's template language.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn inspect(&self, service: &str, format: &str) -> Result<String> {
        let id = self.container(service)?;
        let mut inspect = Command::new("docker");
        let asked = Finished::of(inspect.args(["inspect", "--format", format, &id]), ENGINE_ANSWER)?;
        Ok(asked.success()?.text().trim().to_owned())
    }

    /// Whether something in a running container of a service, from where it is in the network, gets a TCP connection to
    /// `address`. Needs root; nothing of the image is used.
    ///
    /// # Errors
    /// When there is no such container, or it does not run.
    pub fn connects(&self, service: &str, address: SocketAddr) -> Result<bool> {
        let space = format!("/proc/{}/ns/net", self.inspect(service, "{{.State.Pid}}")?);
        let connect = || TcpStream::connect_timeout(&address, CONNECT).is_ok();
        namespace::inside(Path::new(&space), connect).with_context(|| format!("{service} runs"))
    }

    /// Copies what lies at `path` in a service's container to `into`, which is not there yet.
    ///
    /// # Errors
    /// What the engine said.
    pub fn copy_out(&self, service: &str, path: &str, into: &Path) -> Result<()> {
        let from = format!("{}:{path}", self.container(service)?);
        let mut copy = Command::new("docker");
        Finished::of(copy.args(["cp", &from]).arg(into), Duration::from_secs(120))?.success()?;
        Ok(())
    }

    /// Every file of the container's own, by its path; what is mounted there is not its own.
    ///
    /// # Errors
    /// What the engine said.
    pub fn files(&self, service: &str) -> Result<String> {
        let id = self.container(service)?;
        let list = format!("docker export {id} | tar --list --verbose");
        let listed = Finished::of(Command::new("sh").args(["-c", &list]), Duration::from_secs(60))?;
        Ok(listed.success()?.text())
    }

    fn reaches(&self, service: &str, format: &str, wanted: &str, limit: Duration) -> Result<()> {
        let waited = wait::until(&format!("{service} to be {wanted}"), limit, || {
            Ok((self.inspect(service, format)? == wanted).then_some(()))
        });
        waited.with_context(|| self.logs(service))
    }

    /// The number of the service's container.
    ///
    /// # Errors
    /// When there is none.
    pub fn container(&self, service: &str) -> Result<String> {
        let asked = self.run(&["ps", "--quiet", service])?;
        let id = asked.text().trim().to_owned();
        ensure!(!id.is_empty(), "no container of {service}");
        Ok(id)
    }

    fn logs(&self, service: &str) -> String {
        let asked = Finished::of(&mut self.command(&["logs", "--tail", "30", service]), ENGINE_ANSWER);
        asked.map_or_else(
            |error| error.to_string(),
            |logs| format!("{}\n{}", logs.text(), logs.stderr),
        )
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker-compose");
        command
            .args(["--project-name", &self.project, "--file"])
            .arg(binary::repository().join("docker-compose.yml"));
        command.args(arguments).current_dir(binary::repository());
        // The classic builder: the other one is a plug-in that Debian does not carry.
        command.env("DOCKER_BUILDKIT", "0").env("COMPOSE_DOCKER_CLI_BUILD", "0");
        command
            .env("PWD", binary::repository())
            .env("SAMARA_IMAGE", self.images.path())
            .env("SAMARA_ORIGIN_UP", &self.origin_up);
        command
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        let mut down = self.command(&["down", "--volumes", "--remove-orphans", "--timeout", "5"]);
        let _ = Process::start(&mut down).and_then(|down| down.finish(Duration::from_secs(120)));
    }
}
