//! The checklists that this product was asked for, as lists that the shipped runbooks are held against.
//!
//! A line is a piece of an item's text, then `| due | owner` where a time and a role were asked for.

/// Items by runbook.
pub(super) const ITEMS: &[(&str, &str)] = &[
    (
        "deploy",
        "
every service is healthy before the change
Preflight passes: no masked crash loop, no leftover artifacts
Take a checkpoint of all services: logs, health, signals, configs
checkpoint's verification: complete, checksums agree
Write down the baseline: requests, error rate, mean and p95
Data is backed up when the release brings migrations
Deploy the new release | T+0
The running release is the one you meant
The backend is healthy | T+10m
The database is healthy | T+10m
Restart counters stand still for 30 seconds
Start post-deploy verification
Compare before and after, and read the verdict | T+15m
image, config, environment, commits
Database connections are where they were
No error pattern that was not there before
Error rate under 1 %
No endpoint over a second
Latency p95 under 1 s
Decide aloud: keep, watch until a named time, or roll back | T+30m
After a rollback: compare again
keep the checkpoint",
    ),
    (
        "release-plan",
        "
Final readiness check | T-24h | release-manager
CI/CD pipeline: all tests pass
Images are built, tested
Security scan: no critical finding
Performance tests: every figure within its limit
Database migrations are tested
Secrets are managed
Health checks answer on every endpoint
Golden signals are measured, with alerts
Backup strategy: automatic, with a restore test
Rollback plan was rehearsed: service 2 minutes, database 5, everything 15
Release strategy is chosen: blue-green
Post-deploy verification is ready
Documentation is up to date
Every role has a name, a chat address and a telephone number
Tell the team | T-12h
Check the backups | T-6h | devops
Final tests in staging | T-2h | qa
Prepare the release | T-1h
Tell the users | T-30m
Say aloud that the release starts: everyone is ready to roll back | T+0 | release-manager
Carry it out | T+0 | devops
Check the health of the services | T+5m | devops
Error rate is calm | T+15m | devops
Latency p95 is calm | T+15m | devops
Smoke tests | T+15m | qa
Functions of the API | T+20m | backend
Functions of the user interface | T+20m | frontend
Final check | T+30m | release-manager
Tell the team and the users how it ended",
    ),
    (
        "blue-green",
        "
The release plan is walked
Which side is live now
Blue is healthy before anything starts
Take a checkpoint
Migrations work with both releases
Start the new release on green; it gets no traffic yet
Green answers its health check directly
Green reaches the database, redis and outside services
Smoke tests against green
Green's logs hold no error that blue's do not
Send a small share first where the proxy can: 5 %, then 10, 25, 50, 100
Switch all traffic to green | T+0
The public address shows the new release
Health of the services | T+5m
Error rate stays under 5 %
Latency p95 stays under 2 s
Watch the metrics | T+15m
Final check and decision | T+30m | release-manager
0 to 2 minutes: switch the traffic back
2 to 5 minutes: downgrade the schema
5 to 10 minutes: save green's logs, then stop green
recovered within 15 minutes
Keep blue running
Stop blue",
    ),
    (
        "post-deploy-verification",
        "
Announce the start | T+0 | release-manager
API health check | T+5m | devops
Database health check | T+5m | devops
Redis health check | T+5m | devops
AI and other external services | T+5m | devops
Latency is normal | T+10m | devops
Traffic is normal | T+10m | devops
Errors are normal | T+10m | devops
Saturation is normal: CPU under 70 % | T+10m | devops
Saturation is normal: memory under 80 % | T+10m | devops
Saturation is normal: database connections under 80 % | T+10m | devops
Saturation is normal: disk under 85 % | T+10m | devops
Authentication flow | T+15m | qa
Project creation | T+15m | qa
AI generation | T+15m | qa
File operations | T+15m | qa
User management | T+20m | backend
Project management | T+20m | frontend
AI integration | T+20m | backend
Performance tests | T+20m | backend
Authentication security
API security
Data protection
Compare with the checkpoint: the verdict is keep | T+30m | release-manager
Every failed item has a decision | T+30m | release-manager",
    ),
    (
        "emergency-rollback-pm2",
        "
Save what is there now: logs, ecosystem file, environment file, process list
Put back the saved configuration: ecosystem file and environment file
Put back the saved code
No leftover build artifacts: dist/
Delete and start the app
Online for 30 seconds and the restart counter stands still
The health endpoint answers, locally and through the public address
Save the process list
Fail fast: max_restarts: 3, min_uptime: '30s'
Error tracking is on and sends mail
External monitoring asks /health every 2 minutes and wakes a person by chat, SMS and mail
Leftover artifacts cannot come back
PM2 starts the saved list by itself
Deploy scripts check for artifacts before and after, build nothing on the box, and probe health after | T+7d
Smoke tests run after every deploy, and a failed one rolls back | T+7d
A pipeline checks and deploys | T+7d
Tests are automatic, logs are structured | T+14d
A checklist stands before each deploy, and the next step is blue-green | T+14d
Write the post-mortem",
    ),
    (
        "emergency-rollback-compose",
        "
It is the release: P0 holds
Roll back to the last good checkpoint | T+2m
Save the failing logs
Give the old image the name that the compose file uses
The running image id is the old one
The service is healthy
Error rate under 1 %
Latency p95 under 1 s
The other services never restarted
A fresh dump exists and its restore was tested
Two people agree
Downgrade to the revision
Stop what the failing release left behind | T+15m
back at the baseline | T+15m",
    ),
    (
        "incident-response",
        "
Acknowledge the page
Open the incident
Set the severity: P0, P1 or P2
What changed last
roll back now, understand later
Save evidence before any restart
wake the second engineer and the release manager
call the owner of security
Outside provider down
Roles are given to names
First message within 15 minutes
An update every 30 minutes
Hand over in writing
What was lost is known
Last message
Write the report from the record
without blame
What went well stays
Every action has a name and a date
A guard makes the same failure impossible
This runbook says now what was missing",
    ),
    (
        "backup-and-restore",
        "
RPO and RTO are written down
3 copies on 2 kinds of media, 1 of them off site
Code and configuration are covered
Data is covered: database, logs, uploaded files; cache only when
State is covered: active jobs, queues, sessions
Secrets are covered, encrypted
database at 02:00, Redis at 02:30, kept for 7 days
A failed or missing backup raises an alert
Dump the database and check the dump
Save Redis: every node of a cluster
The off-site copy
Take the newest backup from the off-site copy
Restore it into a scratch database
Counts and the newest rows
The Redis dump loads in a scratch instance and answers PING
compare it with the RTO
compare it with the RPO
Say what is lost
Restore the backup
Repeat what was lost",
    ),
    (
        "production-readiness",
        "
Health checks are set up
Metrics are collected
Dashboards exist
Alerts are set
Retry strategy
Circuit breakers
Error logging works
Graceful degradation
Secrets come from the environment
Permissions are limited
Audit logging is on
Rate limiting is set
Caching is in place
Load balancing spreads
Connection pooling is set
Expensive calls are optimised: queries, prompts, batches
Unit tests pass
Integration tests pass
Load tests pass at the expected peak, and the breaking point is known
Chaos tests pass: API away for 30 s, slow database (5 s a query), little memory, 30 % of instances killed
Cost tracking works
Budget alerts at 50, 80 and 100 %
Costs were optimised
Limits are set
Deployment strategy is chosen: blue-green, canary, rolling or feature flags
Rollback plan is ready
Backup strategy is set: 3 copies, 2 kinds of media, 1 off site
Deploy runbook is written
Architecture is described
Incident runbook is ready
On-call procedures are described
Contacts are listed
Check all health checks | T+15m
Look at the metrics | T+15m
Read the logs | T+15m
Check the response time | T+15m
Check throughput | T+1h
Check the error rate | T+1h
Check resource usage | T+1h
Check costs | T+1h
Watch the alerts | T+24h
Collect feedback | T+24h
Check edge cases | T+24h
Stay ready to roll back | T+24h
Error rate: any change since yesterday
Costs of yesterday
Critical alerts
Backups of the night
Trends
Cost optimisation
Documentation brought up to date
Incident review
Capacity planning
Security audit
Performance review
Cost review
Security review: rights, secrets, prompt injection",
    ),
    (
        "deployment-checklist",
        "
The server meets the requirements: 4 GB memory, 2 cores, 20 GB free disk
Docker Engine 20.10 or later and Compose 2.0 or later
Firewall is on: incoming closed but for 22, 80 and 443
System parameters are set
TLS certificates are obtained and installed
Environment variables are set
Secrets are not in the code
Firewall rules are applied
.env belongs to this environment
The tunnel or public entry is configured
Credentials of outside APIs
Rate limits suit production
PostgreSQL runs and answers
Alembic migrations are applied
Backups are set up
Connections are monitored
All nodes run and are healthy
The cluster is formed
Password authentication is on
Replication works
The application starts without errors
API endpoints answer
Webhook endpoints work
Integrations with outside services work
Metrics are collected
Logs are written, rotated
Alerts reach people
The dashboard is reachable
Runbooks are updated
Support contacts are written down: technical, monitoring, security
Recovery procedures are documented
Changes are logged
Application cannot reach the database
Redis cluster does not form
Tunnel is down
Memory runs out",
    ),
];

const P0: &str = "error rate over 5 %, p95 over 2 s, CPU or memory over 95 %, database errors over 1 %, service down";
const P1: &str = "error rate over 1 %, p95 over 1 s, CPU over 80 %, memory over 85 %, a key function, sign-in or AI generation broken";

/// What stands in the text around the items, by runbook.
pub(super) const FACTS: &[(&str, &[&str])] = &[
    (
        "deploy",
        &[
            "| error rate | over 5 % | over 1 % |",
            "| latency p95 | over 2 s | over 1 s |",
            "| CPU | over 95 % | over 80 % |",
            "| memory | over 95 % | over 85 % |",
            "| database errors | over 1 % |",
            "1,000 requests, 5 errors (0.5 %), mean 0.8 s",
            "100 requests, 0 errors, mean 0.9 s",
            "15 to 20 before and 85 after",
            "service 2 minutes, database 5, everything 15",
        ],
    ),
    (
        "release-plan",
        &[
            "| role | answers for | name | chat | telephone |",
            "| release manager |",
            "| DevOps engineer |",
            "| backend developer |",
            "| frontend developer |",
            "| QA engineer |",
            P0,
            P1,
        ],
    ),
    (
        "post-deploy-verification",
        &[
            "| T+0 | start of verification | release manager |",
            "| T+5m | health checks | DevOps engineer |",
            "| T+10m | golden signals | DevOps engineer |",
            "| T+15m | smoke tests | QA engineer |",
            "| T+20m | functional tests | backend and frontend developers |",
            "| T+30m | final check | release manager |",
            "Warning from 500 ms, critical from 1 s. Database queries: p95 100 and 500 ms. AI generation: p95 5 and 10 s.",
            "Warning from 1 %, critical from 5 %. Database errors: 0.05 and 0.1 %. More than 0.01 exceptions a second is critical.",
            P0,
            P1,
        ],
    ),
    (
        "emergency-rollback-compose",
        &[P0, "service 2 minutes, database 5, everything 15"],
    ),
    (
        "emergency-rollback-pm2",
        &[
            "`max_restarts` of 15 with `min_uptime` of 5 s",
            "cp -p ecosystem.config.js package.json",
            "cp -p ~/.pm2/dump.pm2",
            "Detection took 3 hours without it and under 5 minutes with it.",
        ],
    ),
    (
        "blue-green",
        &[
            "http://localhost:8000/health",
            "http://localhost:8001/health",
            "30 tries, 10 seconds apart",
            "cp nginx/nginx.blue.conf nginx/nginx.conf",
            "alembic downgrade",
            "docker compose -f docker-compose.green.yml stop",
            "errors from 1 to 5 % or twice the latency at 25 %",
        ],
    ),
    (
        "incident-response",
        &[
            "| P0 |",
            "| P1 |",
            "| P2 |",
            "Detection: 3 hours once, under 5 minutes",
        ],
    ),
    (
        "backup-and-restore",
        &[
            "| critical | every hour | critical | 5 minutes |",
            "| important | every 6 hours | important | 1 hour |",
            "| ordinary | once a day | not critical | 24 hours |",
            "| archive | once a week |",
            "Failure at 15:30, backup at 15:00",
        ],
    ),
    (
        "production-readiness",
        &[
            "healthy under 500 ms, degraded over 2 s, unhealthy over 5 s or silent",
            "3 attempts, 1 s doubling, with jitter",
            "open after 5 failures in a row, 30 s pause, one trial request",
            "service 2 minutes, database 5, everything 15",
            "at 100 % only critical work goes on",
        ],
    ),
    (
        "deployment-checklist",
        &[
            "vm.overcommit_memory=1 vm.swappiness=10 vm.max_map_count=262144",
            "ENVIRONMENT=production, DEBUG=false, LOG_LEVEL=INFO",
            "API 10 a second with a burst of 20, webhook 30 a minute, payment 2",
            "rotated (10 MB, 5 files)",
            "three masters, three replicas",
            "TLS 1.2 and 1.3 only",
            "warning at 80 %, critical at 95 %",
            "active users, messages, latency, failed payments",
            "connections, time of queries, size, deadlocks",
        ],
    ),
];
