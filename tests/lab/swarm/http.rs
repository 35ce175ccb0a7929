//! nginx at the origin, curl at every site: each site takes its own copy.

use std::time::Instant;

use anyhow::Result;
use samara_tests::{Process, web};

use super::{Bed, ORIGIN, RUN_LIMIT, Run};

/// All sites at once.
pub(crate) fn run(bed: &Bed<'_>, barrier: &mut dyn FnMut() -> Result<()>) -> Result<Run> {
    let folder = bed.work.join("www");
    std::fs::create_dir_all(&folder)?;
    std::fs::hard_link(bed.source, folder.join("file"))?;
    let address = bed.star.address(ORIGIN);
    let _server = web::serve(bed.star.command(ORIGIN, "nginx"), &folder, &address, 80, None)?;
    barrier()?;
    let started = Instant::now();
    let mut running = Vec::new();
    for site in bed.sites {
        let copy = bed.work.join(site);
        let offset = started.elapsed();
        let process = Process::start(
            bed.star
                .command(site, "curl")
                .args(["-sS", "-o"])
                .arg(&copy)
                .arg(format!("http://{address}/file")),
        )?;
        running.push((offset, process, copy));
    }
    let mut run = Run {
        finished: Vec::new(),
        origin_payload: None,
        copies: Vec::new(),
    };
    for (offset, process, copy) in running {
        run.finished
            .push(offset + process.finish(RUN_LIMIT)?.success()?.elapsed);
        run.copies.push(copy);
    }
    Ok(run)
}
