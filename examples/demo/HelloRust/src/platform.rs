//! The platform's end of the algorithm: requests in, responses out. No need to change it.

use serde_json::{json, Value};
use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, BufRead, Write};

/// What a caller sent. A JSON string is text.
pub enum Input {
    Text(String),
    Json(Value),
    Binary(Vec<u8>),
}

/// What an algorithm answers.
pub enum Output {
    Text(String),
    Json(Value),
    Binary(Vec<u8>),
}

impl From<String> for Output {
    fn from(text: String) -> Self {
        Output::Text(text)
    }
}

impl From<&str> for Output {
    fn from(text: &str) -> Self {
        Output::Text(text.to_owned())
    }
}

impl From<Value> for Output {
    fn from(value: Value) -> Self {
        Output::Json(value)
    }
}

impl From<Vec<u8>> for Output {
    fn from(bytes: Vec<u8>) -> Self {
        Output::Binary(bytes)
    }
}

/// Answers one request after the other until there are no more.
pub fn serve<F>(apply: F)
where
    F: Fn(Input) -> Result<Output, Box<dyn Error>>,
{
    let path = std::env::var("ALGORIUM_FIFO").unwrap_or_else(|_| "/tmp/algoout".to_owned());
    let mut out = OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    println!("PIPE_INIT_COMPLETE");
    for line in io::stdin().lock().lines() {
        let line = line.expect("requests are UTF-8");
        let response = match decode(&line).and_then(&apply) {
            Ok(output) => success(output),
            Err(error) => json!({"error": {"message": causes(&*error)}}),
        };
        // What was printed must be out before the answer is.
        io::stdout().flush().ok();
        writeln!(out, "{response}").expect("the platform reads what is written");
    }
}

fn decode(line: &str) -> Result<Input, Box<dyn Error>> {
    let mut request: Value = serde_json::from_str(line)?;
    let data = request["data"].take();
    match (request["content_type"].as_str(), data) {
        (Some("binary"), Value::String(text)) => Ok(Input::Binary(from_base64(&text)?)),
        (Some("text" | "json"), Value::String(text)) => Ok(Input::Text(text)),
        (Some("json"), data) => Ok(Input::Json(data)),
        (content_type, _) => Err(format!("invalid content_type: {content_type:?}").into()),
    }
}

fn success(output: Output) -> Value {
    let (result, content_type) = match output {
        Output::Text(text) => (Value::String(text), "text"),
        Output::Json(value) => (value, "json"),
        Output::Binary(bytes) => (Value::String(to_base64(&bytes)), "binary"),
    };
    json!({"result": result, "metadata": {"content_type": content_type}})
}

fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!("\ncaused by: {cause}"));
        next = cause.source();
    }
    text
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity((bytes.len() + 2) / 3 * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| {
            bits << 8 | u32::from(*chunk.get(i).unwrap_or(&0))
        });
        for i in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * i)) as usize & 63];
            text.push(if i > chunk.len() { '=' } else { letter as char });
        }
    }
    text
}

fn from_base64(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for letter in text.bytes().filter(|&letter| letter != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err("binary input is not base64".into()),
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{from_base64, to_base64};

    #[test]
    fn bytes_survive_base64() {
        for length in 0..10u8 {
            let bytes: Vec<u8> = (0..length).map(|i| i.wrapping_mul(97)).collect();
            assert_eq!(from_base64(&to_base64(&bytes)).unwrap(), bytes);
        }
        assert_eq!(to_base64(b"\x00\xff"), "AP8=");
    }
}
