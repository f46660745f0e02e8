pub mod platform;

use platform::{Input, Output};
use std::error::Error;

/// Called once for every request.
pub fn apply(input: Input) -> Result<Output, Box<dyn Error>> {
    match input {
        Input::Text(name) => Ok(hello(&name).into()),
        _ => Err("text is expected".into()),
    }
}

fn hello(name: &str) -> String {
    format!("Hello {name}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_says_hello() {
        assert_eq!(super::hello("Jane"), "Hello Jane");
    }
}
