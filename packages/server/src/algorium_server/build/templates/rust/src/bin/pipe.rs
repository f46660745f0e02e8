//! What the platform starts. Prepare here what every call needs; it is done once.

fn main() {
    algorithm::platform::serve(algorithm::apply);
}
