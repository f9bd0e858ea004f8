// SAP's own server code, the CAP runtime with its adapter for OData V2, as a system for tests: on this machine only, in memory.
// The model is a file (CAP_MODEL), made by model.mjs. It prints its address when it is ready, and ends with its standard input.
import { randomBytes } from 'node:crypto';
import http from 'node:http';
import cds from '@sap/cds';
import express from 'express';
import { seed, serve } from './business.mjs';

const { CAP_MODEL, CAP_USER = 'CERTIFY', CAP_PASSWORD = 'certify', CAP_PORT = '0', CAP_PAGE = '100', CAP_WRITES = '50' } = process.env;

// CAP itself knows neither sessions nor tokens against forged requests; they must come before its adapter. A session ends after
// some writes, as one does in SAP when its time is over.
const sessions = new Map();
const cookies = (req) => (req.headers.cookie ?? '').split(/;\s*/).map((c) => /^SAP_SESSIONID_CAP_100=(.*)$/.exec(c)?.[1]).filter(Boolean);

function gateway(req, res, next) {
  const logon = `Basic ${Buffer.from(`${CAP_USER}:${CAP_PASSWORD}`).toString('base64')}`;
  if (req.headers.authorization !== logon) {
    res.set('WWW-Authenticate', 'Basic realm="CAP"');
    return res.status(401).json({ error: { code: '401', message: { lang: 'en', value: 'Logon failed' } } });
  }
  delete req.headers.authorization; // CAP has users of its own
  const id = cookies(req).find((c) => sessions.has(c));
  const read = ['GET', 'HEAD'].includes(req.method);
  if (read && /^fetch$/i.test(req.headers['x-csrf-token'] ?? '')) {
    const session = id ?? randomBytes(12).toString('hex');
    if (!id) sessions.set(session, { token: randomBytes(16).toString('base64url'), writes: Number(CAP_WRITES) });
    res.set('Set-Cookie', `SAP_SESSIONID_CAP_100=${session}; path=/; HttpOnly`);
    res.set('X-CSRF-Token', sessions.get(session).token);
    if (req.method === 'HEAD') return res.status(200).end();
  }
  if (!read && sessions.has(id) && sessions.get(id).writes-- <= 0) sessions.delete(id);
  if (!read && (!sessions.has(id) || req.headers['x-csrf-token'] !== sessions.get(id).token)) {
    res.set('X-CSRF-Token', 'Required');
    return res.status(403).json({ error: { code: '403', message: { lang: 'en', value: 'CSRF token validation failed' } } });
  }
  return next();
}

Object.assign(cds.env.query.limit, { max: Number(CAP_PAGE) }); // pages of the server
await cds.plugins;
cds.on('bootstrap', () => {
  cds.cov2ap.before = gateway;
});
cds.on('serving', serve);
const app = express();
app.listen = (port) => http.createServer(app).listen(port, '127.0.0.1'); // CAP would listen everywhere
const server = await cds.server({ from: CAP_MODEL, in_memory: true, port: Number(CAP_PORT), app });
if (!server.listening) await new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject));
const url = `http://127.0.0.1:${server.address().port}`;
await cds.emit('listening', { server, url });
await seed([{ ID: 'P-1', Name: 'Pump', Price: '12.50', Stock: '1000' }, { ID: 'P-2', Name: 'Valve', Price: '3.33', Stock: '20' }]);
console.log(`url=${url}`);
const end = () => process.exit(0);
process.stdin.resume().once('end', end); // who started it is gone
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, end);
