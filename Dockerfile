# One static program that can be any node, in an image that holds nothing else.
ARG RUST_IMAGE=rust:1-slim-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /build
# A target must be named, or macros would be linked statically too and could not be loaded.
ENV RUSTFLAGS="-C target-feature=+crt-static" CARGO_PROFILE_RELEASE_STRIP=symbols
# First the libraries alone, behind empty crates of our own: this layer stays until their list changes.
COPY Cargo.toml Cargo.lock ./
COPY common/Cargo.toml common/
COPY peer/Cargo.toml peer/
COPY seed/Cargo.toml seed/
COPY coterie/Cargo.toml coterie/
COPY lab/Cargo.toml lab/
COPY simulator/Cargo.toml simulator/
COPY simulator/nodes/Cargo.toml simulator/nodes/
COPY simulator/wasm/Cargo.toml simulator/wasm/
COPY fuzz/Cargo.toml fuzz/
RUN for crate in common peer seed coterie lab simulator simulator/nodes simulator/wasm; do \
      mkdir "$crate/src" && touch "$crate/src/lib.rs" && echo 'fn main() {}' > "$crate/src/main.rs"; \
    done \
 && rm common/src/main.rs && mkdir -p lab/tests/hosts lab/tests/nemesis simulator/tests \
 && touch lab/tests/hosts/main.rs lab/tests/nemesis/main.rs simulator/tests/simulation.rs \
 && mkdir -p fuzz/src/bin && touch fuzz/src/lib.rs fuzz/src/bin/fuzz.rs \
 && cargo build --release --locked --package coterie --target "$(rustc -vV | sed -n 's/^host: //p')"
COPY . .
# Files are as old as their checkout: cargo must see that they are not the empty ones.
RUN find common peer seed coterie -name '*.rs' -exec touch {} + \
 && cargo build --release --locked --package coterie --target "$(rustc -vV | sed -n 's/^host: //p')" \
 && mkdir -p /image/data /image/logs \
 && cp target/*/release/coterie /image/

FROM scratch
# A number, not a name: there is no list of users in here. The volumes that are made of these directories are its own.
COPY --from=build --chown=65532:65532 /image/data /data
COPY --from=build --chown=65532:65532 /image/logs /logs
COPY --from=build /image/coterie /coterie
USER 65532:65532
ENTRYPOINT ["/coterie"]
CMD ["--help"]
