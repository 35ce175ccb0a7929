//! nginx at the origin, curl at every site: each site takes its own copy.

use std::time::Instant;

use anyhow::Result;
use samara_tests::skip::has;
use samara_tests::{Process, web};

use super::{Barrier, Bed, ORIGIN, Run};

/// Whether both are there.
pub(crate) fn is_installed() -> bool {
    has("nginx") && has("curl")
}

/// Each site for itself.
pub(crate) fn run(bed: &Bed<'_>, barrier: &mut Barrier<'_>) -> Result<Run> {
    let folder = bed.work.join("www");
    std::fs::create_dir_all(&folder)?;
    std::fs::hard_link(bed.source, folder.join("file"))?;
    let address = bed.star.address(ORIGIN);
    let _server = web::serve(bed.star.command(ORIGIN, "nginx"), &folder, &address, 80, None)?;
    let clock = bed.start(barrier)?;
    let finished = clock.each(bed.sites, |site| {
        let began = Instant::now();
        let mut curl = bed.star.command(site, "curl");
        curl.args(["-sS", "-o"]).arg(bed.work.join(site));
        let curl = Process::start(curl.arg(format!("http://{address}/file")))?;
        Ok(began + curl.finish(bed.limit)?.success()?.elapsed)
    })?;
    Ok(Run {
        finished,
        durable: None,
        origin_payload: None,
        copies: bed.sites.iter().map(|site| bed.work.join(site)).collect(),
    })
}
