# The whole product is one static program, so the image holds nothing else: no shell, no libraries, no package to patch.
#
#   RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --target x86_64-unknown-linux-gnu --bin samara
#   mkdir -p target/image/data && cp target/x86_64-unknown-linux-gnu/release/samara target/image/
#   DOCKER_BUILDKIT=0 docker build --tag samara --file Dockerfile target/image
FROM scratch
COPY samara /samara
# Volumes mounted here start out as this folder: the daemon's user owns them.
COPY --chown=65532:65532 data /data
USER 65532:65532
ENV SAMARA_HOME=/data
ENTRYPOINT ["/samara"]
