//! A log as a Compose project writes it: four services in four formats.

/// Numbers without a crate and without a file.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// A capture of about so many megabytes; after the deploy one message gave way to an error.
pub(crate) fn capture(megabytes: usize, is_after: bool) -> Vec<u8> {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let mut text = String::with_capacity(megabytes << 20);
    let mut number = 0u64;
    while text.len() < megabytes << 20 {
        number += 1;
        let second = number / 400;
        let clock = format!(
            "{:02}:{:02}:{:02}",
            14 + second / 3600 % 8,
            second / 60 % 60,
            second % 60
        );
        let (order, ms) = (dice.roll(99_999), dice.roll(900));
        let line = match dice.roll(20) {
            0..8 => format!(
                "nginx-1   | 10.0.{}.{} - - [27/Dec/2025:{clock} +0000] \"GET /api/orders/{order} HTTP/1.1\" 200 {ms} \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\" rt=0.{ms:03}\n",
                dice.roll(255),
                dice.roll(255)
            ),
            8..13 => format!(
                "backend-1 | 2025-12-27 {clock},{:03} INFO [worker-{}] app.api: GET /api/orders/{order} completed in 0.{ms:03}s status=200 req_id={:016x}\n",
                dice.roll(1000),
                dice.roll(8),
                dice.roll(u64::MAX)
            ),
            13..16 => format!(
                "worker-1  | {{\"level\":30,\"time\":{},\"pid\":17,\"msg\":\"job finished\",\"queue\":\"mail\",\"durationMs\":{ms}}}\n",
                1_766_847_000_000 + number * 2
            ),
            16..19 => format!(
                "gateway-1 | ts=2025-12-27T{clock}Z level=info msg=\"upstream response\" upstream=backend:8000 status=200 dur={ms}ms trace_id={:016x}\n",
                dice.roll(u64::MAX)
            ),
            _ if is_after => format!(
                "backend-1 | 2025-12-27 {clock},000 ERROR [worker-1] app.api: NoneType has no attribute 'id' (order={order})\n"
            ),
            _ => format!(
                "backend-1 | 2025-12-27 {clock},000 ERROR [worker-1] app.pay: gateway timeout after {ms} ms order={order}\n"
            ),
        };
        text.push_str(&line);
    }
    text.into_bytes()
}
