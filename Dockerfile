# The whole product is one static program, so the image holds nothing else: no shell, no libraries, no package to patch.
# README.md has the three commands that make the build context and the images.

FROM scratch AS samara
COPY samara /samara
# Volumes mounted here start out as this folder: the user below owns them.
COPY --chown=65532:65532 data /data
USER 65532:65532
ENV SAMARA_HOME=/data
ENTRYPOINT ["/samara"]

# The one-shot set-up of docker-compose.yml runs many verbs, so it has a shell, and a place for every volume.
FROM scratch AS set-up
COPY samara busybox /bin/
COPY --chown=65532:65532 data /vendor
COPY --chown=65532:65532 data /origin
COPY --chown=65532:65532 data /site1
COPY --chown=65532:65532 data /site2
COPY --chown=65532:65532 data /site3
COPY --chown=65532:65532 data /host1
COPY --chown=65532:65532 data /host2
COPY --chown=65532:65532 data /host3
COPY --chown=65532:65532 data /keepers
COPY --chown=65532:65532 data /tmp
USER 65532:65532
ENTRYPOINT ["/bin/busybox", "sh", "-euc"]
