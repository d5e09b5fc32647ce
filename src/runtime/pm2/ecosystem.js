// Prints what an ecosystem file declares, as `pm2 start` would read it. Run with the file to read and the place at
// which it is to stand: what it requires is looked for from there.
const fs = require('fs');
const os = require('os');
const path = require('path');
const Module = require('module');
const [file, place] = process.argv.slice(1);
const text = fs.readFileSync(file, 'utf8');
const folder = path.dirname(place);
let config;
if (/\.json/.test(path.basename(place))) {
  config = require('vm').runInThisContext('(' + text + ')');
} else {
  const module = new Module(place);
  module.filename = place;
  module.paths = Module._nodeModulePaths(folder);
  module._compile(text, place);
  config = module.exports;
}
const home = (it) => (it[0] === '~' ? path.join(os.homedir(), it.slice(1)) : it);
const inPath = (name) => (process.env.PATH || '').split(':').map((one) => path.join(one, name)).find(fs.existsSync);
const units = { h: 3600000, m: 60000, s: 1000 };
const span = (it) => {
  const parts = /^\s*(\d+)\s*([hms]?)\s*$/.exec(String(it));
  return parts ? Number(parts[1]) * (units[parts[2]] || 1) : null;
};
const apps = [].concat(config.apps || config.pm2 || config).map((app) => {
  const script = String(app.script);
  const cwd = app.cwd ? path.resolve(folder, home(String(app.cwd))) : folder;
  const resolved = path.resolve(cwd, home(script));
  const found = fs.existsSync(resolved) || script.includes('/') ? resolved : inPath(script) || resolved;
  const name = app.name ? String(app.name) : path.basename(script, path.extname(script));
  const restarts = {
    max_restarts: span(app.max_restarts),
    min_uptime_ms: span(app.min_uptime),
    restart_delay_ms: span(app.restart_delay),
    autorestart: app.autorestart === undefined ? null : String(app.autorestart) !== 'false',
  };
  return { name, script: found, cwd, restarts };
});
// The file itself may print: only the last line counts.
process.stdout.write('\n' + JSON.stringify(apps));
