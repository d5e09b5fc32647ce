//! A Prometheus server: one query, one number.
//!
//! A query that gives nothing, or many numbers, has no value: nothing is picked, and nothing is taken for 0. The server is
//! asked from this machine, whichever machines its series are of.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::RuntimeError;
use crate::domain::own_signal::PrometheusSettings;
use crate::domain::safe_text::SafeText;
use crate::host::sink::read_secret;

/// An answer of one number is short; a query that was not aggregated is not.
const MAX_ANSWER: usize = 1024 * 1024;

/// One number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The number; never NaN nor infinite.
    pub value: f64,
    /// When the server evaluated it.
    pub at: Timestamp,
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: String,
    data: Option<Answered>,
}

/// What a query gave; strings and ranges are of no use here and stay as they are.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    result_type: String,
    result: serde_json::Value,
}

/// A value with its time, as the API writes both: `[1766847000.123, "0.25"]`.
type Point = (f64, String);

#[derive(Deserialize)]
struct Series {
    value: Point,
}

/// Asks for the value of an expression now.
///
/// # Errors
/// The server did not answer, refused the query, or the query gives no number or several. No token stands in it.
pub async fn query(server: &PrometheusSettings, promql: &str) -> Result<Sample, RuntimeError> {
    let fail = |why: String| {
        RuntimeError::failed(
            format!("Prometheus at {} gives no value", server.url),
            std::io::Error::other(why),
        )
    };
    let mut url = reqwest::Url::parse(&format!("{}/api/v1/query", server.url))
        .map_err(|error| fail(error.to_string()))?;
    url.query_pairs_mut().append_pair("query", promql);
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(server.timeout)
        .user_agent(concat!("lastgood/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| fail(explain(&error, server.timeout)))?;
    let mut request = client.get(url);
    if let Some(token) = &server.token {
        let token = read_secret(token, server.timeout)
            .await
            .map_err(|error| fail(error.to_string()))?;
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let mut response = request
        .send()
        .await
        .map_err(|error| fail(explain(&error, server.timeout)))?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| fail(explain(&error, server.timeout)))?
    {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER {
            return Err(fail("its answer is too long: aggregate, sum(…)".to_owned()));
        }
    }
    // A query that it cannot read is answered with 400 and a reason in the same shape.
    read_answer(&body).map_err(|why| match (status.is_success(), why) {
        (false, Unread::NotOurs) => fail(format!("it answered {status}")),
        (true, Unread::NotOurs) => fail("it answered with something else than JSON".to_owned()),
        (_, Unread::Because(why)) => fail(why),
    })
}

#[derive(Debug, PartialEq)]
enum Unread {
    /// No answer of this API.
    NotOurs,
    /// An answer without a number.
    Because(String),
}

fn read_answer(body: &[u8]) -> Result<Sample, Unread> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| Unread::NotOurs)?;
    let because = |why: &str| Unread::Because(SafeText::from_text(why).to_string());
    let Some(data) = answer.data.filter(|_| answer.status == "success") else {
        return Err(match answer.error.is_empty() {
            true => because("it refused the query"),
            false => because(&answer.error),
        });
    };
    let odd = |_| Unread::NotOurs;
    let (at, text) = match data.result_type.as_str() {
        "scalar" => serde_json::from_value::<Point>(data.result).map_err(odd)?,
        "vector" => {
            let mut found: Vec<Series> = serde_json::from_value(data.result).map_err(odd)?;
            match (found.pop(), found.len()) {
                (None, _) => return Err(because("no series matches, or none has a value now")),
                (Some(one), 0) => one.value,
                (Some(_), more) => {
                    return Err(because(&format!(
                        "{} series match where one number is wanted: aggregate, sum(…)",
                        more + 1
                    )));
                }
            }
        }
        other => {
            return Err(because(&format!(
                "it gives a {other} where one number is wanted"
            )));
        }
    };
    let value: f64 = text.parse().map_err(|_| Unread::NotOurs)?;
    if !value.is_finite() {
        return Err(because(&format!("the value is {text}")));
    }
    let at = Timestamp::from_millisecond((at * 1000.0) as i64).map_err(|_| Unread::NotOurs)?;
    Ok(Sample { value, at })
}

/// The innermost cause, which is the one that a person can act on.
fn explain(error: &reqwest::Error, timeout: Duration) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", timeout.as_secs_f32());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(body: &str) -> String {
        match read_answer(body.as_bytes()).unwrap_err() {
            Unread::Because(why) => why,
            Unread::NotOurs => "not ours".to_owned(),
        }
    }

    #[test]
    fn one_number_is_a_value_and_anything_else_is_none() {
        let vector = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1766847000.123,"0.25"]}]}}"#;
        let sample = read_answer(vector.as_bytes()).unwrap();
        assert_eq!(
            (sample.value, sample.at.as_millisecond()),
            (0.25, 1_766_847_000_123)
        );
        let scalar =
            r#"{"status":"success","data":{"resultType":"scalar","result":[1766847000,"42"]}}"#;
        assert_eq!(read_answer(scalar.as_bytes()).unwrap().value, 42.0);
        let empty = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
        assert!(why(empty).contains("no series"), "{}", why(empty));
        let two = vector.replace("}]}}", r#"},{"metric":{},"value":[1,"2"]}]}}"#);
        assert!(why(&two).contains("2 series"), "{}", why(&two));
        assert!(why(&vector.replace("0.25", "NaN")).contains("NaN"));
        assert!(why(&vector.replace("0.25", "+Inf")).contains("Inf"));
        let refused = r#"{"status":"error","errorType":"bad_data","error":"parse error: unexpected end of input"}"#;
        assert!(why(refused).contains("unexpected end"), "{}", why(refused));
        let range = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        assert!(why(range).contains("matrix"), "{}", why(range));
        for other in ["", "<html>", "{}", r#"{"status":"success"}"#] {
            assert!(
                ["not ours", "it refused the query"].contains(&why(other).as_str()),
                "{other}"
            );
        }
    }
}
