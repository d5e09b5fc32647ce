//! The stacks: what each writes when nothing is wrong, and what it says after a deploy that broke something.

use super::Stack;

/// Every stack.
pub(crate) const STACKS: &[Stack] = &[
    SPRING, RAILS, ZAP, SLOG, DJANGO, LARAVEL, DOTNET, NODE, SYSLOG, COMPOSE,
];

const SPRING: Stack = Stack {
    name: "spring",
    line: "{t:%Y-%m-%d %H:%M:%S.%3f} {level} 1 --- [nio-8080-exec-{int:1-20}] {msg}",
    levels: [" INFO", " WARN", "ERROR"],
    request: "c.shop.web.AccessLog                     : {method} {path} -> {status} in {ms} ms [{hex:16}]",
    talk: &[
        (
            0,
            30.0,
            "c.shop.orders.OrderService               : Order {int:10000-99999} placed by {user}, {int:1-9} items",
        ),
        (
            0,
            12.0,
            "o.h.engine.jdbc.spi.SqlStatementLogger   : Statement took {int:1-40} ms, {int:0-300} rows",
        ),
        (
            1,
            2.0,
            "c.zaxxer.hikari.pool.ProxyLeakTask       : Connection leak detection triggered for conn{int:1-40}, thread nio-8080-exec-{int:1-20}",
        ),
        (
            2,
            1.5,
            "c.shop.mail.MailSender                   : Mail to {user}{int:1-999}@example.com was refused: 451 4.7.1 greylisted",
        ),
        (
            2,
            0.8,
            "c.shop.orders.OrderController            : Order {int:10000-99999} not found\njava.util.NoSuchElementException: No value present\n\tat java.base/java.util.Optional.orElseThrow(Optional.java:377)\n\tat com.shop.orders.OrderController.get(OrderController.java:88)\n\t... 54 common frames omitted",
        ),
    ],
    gone: (
        0,
        6.0,
        "c.shop.price.LegacyPriceCache            : Legacy price list reloaded, {int:100-900} entries",
    ),
    more: (
        1,
        3.0,
        "c.shop.db.SlowQuery                      : Slow query: {int:1000-4000} ms on table orders",
    ),
    new: [
        "c.shop.cart.CartService                  : Cart {hex:24} cannot be priced\njava.lang.NullPointerException: Cannot invoke \"com.shop.Price.amount()\" because \"price\" is null\n\tat com.shop.cart.CartService.total(CartService.java:141)\n\tat com.shop.cart.CartController.post(CartController.java:60)",
        "c.shop.auth.TokenFilter                  : Authentication failed: invalid token format for user {int:1-90000}",
        "c.shop.pay.Gateway                       : Payment provider answered with malformed JSON at offset {int:1-4096}",
        "o.s.k.l.KafkaMessageListenerContainer    : Offset commit failed on partition orders-{int:0-11}",
        "com.zaxxer.hikari.pool.HikariPool        : HikariPool-1 - Connection is not available, request timed out after {int:30000-30020}ms",
    ],
};

const RAILS: Stack = Stack {
    name: "rails",
    line: "{pick:I|I|I}, [{t:%Y-%m-%dT%H:%M:%S.%6f} #{int:17-22}] {level} -- : [{uuid}] {msg}",
    levels: [" INFO", " WARN", "ERROR"],
    request: "method={method} path={path} format=json controller=Api::ItemsController status={status} duration={ms:2} view=0.31 db={int:1-9}.{int:10-99}",
    talk: &[
        (
            0,
            25.0,
            "Performed MailJob (Job ID: {uuid}) from Sidekiq(default) in {int:4-90}.{int:10-99}ms",
        ),
        (
            0,
            9.0,
            "Rendered items/index.json.jbuilder (Duration: {int:1-20}.{int:1-9}ms | Allocations: {int:900-90000})",
        ),
        (
            1,
            1.5,
            "Cache miss: views/items/{int:1-90000}-2026{int:1000-9999}",
        ),
        (
            2,
            1.2,
            "ActiveRecord::RecordNotFound (Couldn't find Item with 'id'={int:1-90000}):",
        ),
    ],
    gone: (0, 5.0, "Legacy importer finished, {int:10-900} rows"),
    more: (
        1,
        2.5,
        "Slow SQL ({int:1000-4000}.{int:1-9}ms) SELECT \"orders\".* FROM \"orders\" WHERE \"orders\".\"user_id\" = {int:1-90000}",
    ),
    new: [
        "NoMethodError (undefined method `price' for nil:NilClass):",
        "JWT::DecodeError (Not enough or too many segments) for user {int:1-90000}",
        "JSON::ParserError (unexpected token at '<html>{int:1-4096}')",
        "Redis::CommandError (OOM command not allowed when used memory > 'maxmemory'), key cart:{hex:12}",
        "ActiveRecord::ConnectionTimeoutError (could not obtain a connection from the pool within 5.000 seconds; waited {int:5000-5020} ms)",
    ],
};

const ZAP: Stack = Stack {
    name: "zap-json",
    line: "{{\"level\":\"{level}\",\"ts\":\"{t:%Y-%m-%dT%H:%M:%S.%3fZ}\",\"caller\":\"srv/{pick:http|http}.go:88\",\"msg\":\"{msg}}",
    levels: ["info", "warn", "error"],
    request: "request done\",\"method\":\"{method}\",\"path\":\"{path}\",\"status\":{status},\"latency_ms\":{ms:3},\"request_id\":\"{uuid}\"",
    talk: &[
        (
            0,
            25.0,
            "job finished\",\"queue\":\"{pick:mail|pdf|sync}\",\"took\":\"{int:3-90}ms\",\"job\":\"{uuid}\"",
        ),
        (
            0,
            8.0,
            "cache refreshed\",\"items\":{int:10-900},\"shard\":{int:0-15}",
        ),
        (
            1,
            2.0,
            "retrying upstream\",\"attempt\":{int:1-4},\"upstream\":\"10.0.0.{int:2-5}:8000\"",
        ),
        (
            2,
            1.4,
            "smtp delivery failed\",\"to\":\"{user}{int:1-999}@example.com\",\"error\":\"451 4.7.1 try again later\"",
        ),
    ],
    gone: (
        0,
        6.0,
        "legacy price list loaded\",\"entries\":{int:100-900}",
    ),
    more: (
        1,
        2.0,
        "slow query\",\"ms\":{int:1000-4000},\"table\":\"orders\"",
    ),
    new: [
        "runtime error: invalid memory address or nil pointer dereference\",\"cart\":\"{hex:24}\"",
        "token rejected\",\"error\":\"authentication failed: invalid token format\",\"user\":{int:1-90000}",
        "payment answer unreadable\",\"error\":\"invalid character '<' looking for beginning of value\",\"offset\":{int:1-4096}",
        "offset commit failed\",\"partition\":{int:0-11},\"group\":\"orders\"",
        "pool exhausted\",\"error\":\"timeout: context deadline exceeded\",\"waited_ms\":{int:5000-5020}",
    ],
};

const SLOG: Stack = Stack {
    name: "logfmt",
    line: "time={t:%Y-%m-%dT%H:%M:%S.%3fZ} level={level} {msg}",
    levels: ["INFO", "WARN", "ERROR"],
    request: "msg=\"http request\" method={method} uri={path} status={status} duration={ms:1}ms bytes={int:20-90000} trace_id={hex:32}",
    talk: &[
        (
            0,
            25.0,
            "msg=\"message consumed\" topic=orders partition={int:0-11} offset={int:100000-999999} lag={int:0-9}",
        ),
        (
            0,
            8.0,
            "msg=\"lease renewed\" holder=worker-{hex:6} ttl={int:10-30}s",
        ),
        (
            1,
            2.0,
            "msg=\"upstream retry\" attempt={int:1-4} host=10.0.0.{int:2-5}",
        ),
        (
            2,
            1.4,
            "msg=\"webhook delivery failed\" url=https://hooks.example.com/{hex:8} err=\"unexpected status 503\"",
        ),
    ],
    gone: (0, 6.0, "msg=\"legacy rates pulled\" pairs={int:100-900}"),
    more: (1, 2.0, "msg=\"slow query\" ms={int:1000-4000} table=orders"),
    new: [
        "msg=\"cart cannot be priced\" cart={hex:24} err=\"nil price for sku {int:1-90000}\"",
        "msg=\"token rejected\" user={int:1-90000} err=\"authentication failed: invalid token format\"",
        "msg=\"payment answer unreadable\" offset={int:1-4096} err=\"invalid character '<'\"",
        "msg=\"offset commit failed\" partition={int:0-11} err=\"rebalance in progress\"",
        "msg=\"no free connection\" waited={int:5000-5020}ms max=100",
    ],
};

const DJANGO: Stack = Stack {
    name: "django",
    line: "[{t:%Y-%m-%d %H:%M:%S,%3f}: {level}/ForkPoolWorker-{int:1-8}] {msg}",
    levels: ["INFO", "WARNING", "ERROR"],
    request: "access {method} {path} {status} {s:4}s user={user}",
    talk: &[
        (
            0,
            20.0,
            "Task app.tasks.send_mail[{uuid}] succeeded in {int:0-2}.{int:1000-9999}s: None",
        ),
        (0, 20.0, "Task app.tasks.send_mail[{uuid}] received"),
        (1, 2.0, "Not Found: /favicon-{int:16-64}.ico"),
        (
            2,
            1.0,
            "Task app.tasks.sync[{uuid}] raised unexpected: TimeoutError('crm did not answer in {int:10-30} s')\nTraceback (most recent call last):\n  File \"/usr/lib/python3.11/site-packages/celery/app/trace.py\", line 451, in trace_task\n    R = retval = fun(*args, **kwargs)\n  File \"/app/tasks.py\", line 30, in sync\n    crm.push(order)\nTimeoutError: crm did not answer",
        ),
    ],
    gone: (0, 6.0, "Legacy feed written, {int:100-900} offers"),
    more: (
        1,
        2.0,
        "Slow query {int:1000-4000} ms: SELECT COUNT(*) FROM shop_order",
    ),
    new: [
        "Internal Server Error: /api/checkout order {int:1-90000}\nTraceback (most recent call last):\n  File \"/app/shop/views.py\", line 141, in post\n    total = sum(i.price for i in cart.items)\nAttributeError: 'NoneType' object has no attribute 'items'",
        "Authentication failed: Invalid token format (user {int:1-90000})",
        "Invalid JSON response from payment service: Expecting value: line 1 column {int:1-4096}",
        "Division by zero in calculate_discount() for cart {hex:12}",
        "FATAL: remaining connection slots are reserved for superusers, tried {int:1-5} times",
    ],
};

const LARAVEL: Stack = Stack {
    name: "laravel",
    line: "[{t:%Y-%m-%d %H:%M:%S}] production.{level}: {msg}",
    levels: ["INFO", "WARNING", "ERROR"],
    request: "{method} {path} {status} {ms}ms",
    talk: &[
        (0, 25.0, "Order {int:10000-99999} shipped to {user}"),
        (0, 8.0, "Queue default: processed {int:1-40} jobs"),
        (
            1,
            2.0,
            "Deprecated: Optional parameter before required in /app/Http/Kernel.php:{int:10-90}",
        ),
        (
            2,
            1.2,
            "Mail to {user}{int:1-999}@example.com failed: Connection could not be established",
        ),
    ],
    gone: (0, 6.0, "Legacy sitemap rebuilt with {int:100-900} urls"),
    more: (1, 2.0, "Slow query {int:1000-4000} ms on orders"),
    new: [
        "Attempt to read property \"price\" on null at /app/Services/CartService.php:{int:140-141}\n[stacktrace]\n#0 /app/Http/Controllers/CartController.php(60): App\\Services\\CartService->total()\n#1 {{main}",
        "Unauthenticated. Invalid token format for user {int:1-90000}",
        "Syntax error in JSON of payment provider, offset {int:1-4096}",
        "SQLSTATE[23000]: Integrity constraint violation: 1062 Duplicate entry '{int:1-90000}' for key 'orders.PRIMARY'",
        "SQLSTATE[HY000] [1040] Too many connections after {int:1-9} attempts",
    ],
};

const DOTNET: Stack = Stack {
    name: "dotnet",
    line: "{level}: {msg}",
    levels: ["info", "warn", "fail"],
    request: "Microsoft.AspNetCore.Hosting.Diagnostics[2]\n      Request finished HTTP/1.1 {method} http://shop.local{path} - {status} - application/json {ms:4}ms",
    talk: &[
        (
            0,
            25.0,
            "Shop.Orders.OrderService[0]\n      Order {int:10000-99999} placed by {user}",
        ),
        (
            0,
            8.0,
            "Microsoft.EntityFrameworkCore.Database.Command[20101]\n      Executed DbCommand ({int:1-40}ms) [Parameters=[@p0='?'], CommandType='Text', CommandTimeout='30']",
        ),
        (
            1,
            2.0,
            "Polly[3]\n      Retry {int:1-3} for http://crm.local/sync",
        ),
        (
            2,
            1.2,
            "Shop.Mail.Sender[0]\n      Mail to {user}{int:1-999}@example.com was refused",
        ),
    ],
    gone: (
        0,
        6.0,
        "Shop.Prices.LegacyList[0]\n      Legacy price list reloaded, {int:100-900} entries",
    ),
    more: (
        1,
        2.0,
        "Shop.Db.SlowQuery[0]\n      Slow query of {int:1000-4000} ms on orders",
    ),
    new: [
        "Microsoft.AspNetCore.Server.Kestrel[13]\n      Connection id \"0HN{hex:8}\", an unhandled exception was thrown by the application.\n      System.NullReferenceException: Object reference not set to an instance of an object.\n         at Shop.Cart.CartService.Total() in /src/CartService.cs:line 141",
        "Shop.Auth.TokenHandler[0]\n      Authentication failed: invalid token format for user {int:1-90000}",
        "Shop.Pay.Gateway[0]\n      Payment answer is no JSON, stopped at byte {int:1-4096}",
        "Shop.Bus.Consumer[0]\n      Offset commit failed on partition {int:0-11}",
        "Npgsql.Pool[0]\n      The connection pool has been exhausted, waited {int:15000-15020} ms",
    ],
};

const NODE: Stack = Stack {
    name: "node",
    line: "{t:%d/%m/%Y, %H:%M:%S} {level} {msg}",
    levels: ["[info]", "[warn]", "[error]"],
    request: "{method} {path} {status} {ms:3} ms - {int:20-90000}",
    talk: &[
        (0, 25.0, "order {int:10000-99999} placed by {user}"),
        (0, 8.0, "socket {hex:20} connected from {ip}"),
        (
            1,
            2.0,
            "MaxListenersExceededWarning: {int:11-30} change listeners added",
        ),
        (
            2,
            1.2,
            "mail to {user}{int:1-999}@example.com: ECONNREFUSED 10.0.0.9:25",
        ),
    ],
    gone: (0, 6.0, "legacy exchange rates fetched ({int:100-900})"),
    more: (1, 2.0, "slow query {int:1000-4000}ms orders"),
    new: [
        "TypeError: Cannot read properties of undefined (reading 'price')\n    at total (/app/cart.js:141:19)\n    at /app/routes/checkout.js:60:5",
        "JsonWebTokenError: jwt malformed (user {int:1-90000})",
        "SyntaxError: Unexpected token < in JSON at position {int:1-4096}",
        "ReplyError: OOM command not allowed when used memory > 'maxmemory' cart:{hex:12}",
        "TimeoutError: ResourceRequest timed out, pool size {int:100-101}",
    ],
};

const SYSLOG: Stack = Stack {
    name: "syslog",
    line: "{t:%b %e %H:%M:%S} web1 shop[{int:700-708}]: {level} {msg}",
    levels: ["INFO", "WARN", "ERROR"],
    request: "http: {method} {path} code={status} took={s:3}s peer={ip}",
    talk: &[
        (
            0,
            25.0,
            "orders: {int:10000-99999} accepted, {int:1-9} lines",
        ),
        (0, 8.0, "gc: freed {int:1-900} KiB in {int:1-9} ms"),
        (1, 2.0, "upstream: attempt {int:1-4} to 10.0.0.{int:2-5}"),
        (2, 1.2, "mailer: {user}{int:1-999}@example.com refused"),
    ],
    gone: (0, 6.0, "prices: legacy list read, {int:100-900} entries"),
    more: (1, 2.0, "db: slow query {int:1000-4000} ms table orders"),
    new: [
        "cart: price is nil for sku {int:1-90000}",
        "auth: invalid token format, user {int:1-90000}",
        "pay: answer is no JSON at byte {int:1-4096}",
        "bus: offset commit failed, partition {int:0-11}",
        "db: connection pool exhausted after {int:5000-5020} ms",
    ],
};

const COMPOSE: Stack = Stack {
    name: "compose",
    line: "{pick:api-1  |api-2  } | {t:%Y-%m-%dT%H:%M:%S.%9fZ} {level} {msg}",
    levels: [
        "\u{1b}[32mINFO\u{1b}[0m ",
        "\u{1b}[33mWARN\u{1b}[0m ",
        "\u{1b}[31mERROR\u{1b}[0m",
    ],
    request: "shop::http request{{id={hex:16}}: {method} {path} finished status={status} elapsed={ms:2}ms",
    talk: &[
        (
            0,
            25.0,
            "shop::orders order {int:10000-99999} placed user={user}",
        ),
        (
            0,
            8.0,
            "sqlx::query rows={int:0-300} elapsed={int:1-40}.{int:1-9}ms",
        ),
        (
            1,
            2.0,
            "shop::upstream retry attempt={int:1-4} host=10.0.0.{int:2-5}",
        ),
        (
            2,
            1.2,
            "shop::mail refused to={user}{int:1-999}@example.com",
        ),
    ],
    gone: (
        0,
        6.0,
        "shop::prices legacy list reloaded entries={int:100-900}",
    ),
    more: (
        1,
        2.0,
        "shop::db slow query of {int:1000-4000}ms table=orders",
    ),
    new: [
        "shop::cart thread 'tokio-runtime-worker' panicked at src/cart.rs:141:19: price is None, sku {int:1-90000}",
        "shop::auth invalid token format user={int:1-90000}",
        "shop::pay expected value at line 1 column {int:1-4096}",
        "shop::bus offset commit failed partition={int:0-11}",
        "shop::db pool timed out while waiting for an open connection waited={int:5000-5020}ms",
    ],
};
