pub mod platform;

use platform::{Input, Output};
use serde_json::json;
use std::error::Error;

/// Called once for every request.
pub fn apply(input: Input) -> Result<Output, Box<dyn Error>> {
    match input {
        Input::Text(name) => Ok(hello(&name).into()),
        Input::Binary(bytes) => Ok(bytes.into()),
        Input::Json(value) => match value["name"].as_str() {
            Some(name) => Ok(json!({"greeting": hello(name)}).into()),
            None => Err("text, bytes or an object with a name is expected".into()),
        },
    }
}

fn hello(name: &str) -> String {
    format!("Hello {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_greeted() {
        let output = apply(Input::Text("Jane".into())).unwrap();
        assert!(matches!(output, Output::Text(text) if text == "Hello Jane"));
    }

    #[test]
    fn a_name_is_greeted() {
        let output = apply(Input::Json(json!({"name": "Jane"}))).unwrap();
        assert!(
            matches!(output, Output::Json(value) if value == json!({"greeting": "Hello Jane"}))
        );
    }

    #[test]
    fn bytes_come_back() {
        let output = apply(Input::Binary(vec![0, 255])).unwrap();
        assert!(matches!(output, Output::Binary(bytes) if bytes == [0, 255]));
    }

    #[test]
    fn everything_else_is_an_error() {
        assert!(apply(Input::Json(json!(5))).is_err());
    }
}
