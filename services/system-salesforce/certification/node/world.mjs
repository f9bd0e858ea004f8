// Where the sandbox is, who may log in, and what a case can arrange. It speaks
// plain HTTP, so that no certified client certifies itself.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import test from 'node:test';

const { env } = process;

export const world = {
  url: env.CERTIFY_URL,
  pubsubTLS: env.CERTIFY_PUBSUB_TLS,
  clientId: env.CERTIFY_CLIENT_ID,
  clientSecret: env.CERTIFY_CLIENT_SECRET,
  username: env.CERTIFY_USERNAME,
  password: env.CERTIFY_PASSWORD,
  securityToken: env.CERTIFY_SECURITY_TOKEN,
  key: env.CERTIFY_KEY ? fs.readFileSync(env.CERTIFY_KEY, 'utf8') : '',
};

export const JWT = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

// capability declares the case of one capability.
export function capability(name, fn) {
  test(name, { timeout: 30_000 }, fn);
}

const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

// assertion signs a JWT bearer assertion.
export function assertion() {
  const claims = {
    iss: world.clientId,
    sub: world.username,
    aud: 'https://login.salesforce.com',
    exp: Math.floor(Date.now() / 1000) + 180,
  };
  const text = `${base64url({ alg: 'RS256' })}.${base64url(claims)}`;
  return `${text}.${crypto.sign('RSA-SHA256', Buffer.from(text), world.key).toString('base64url')}`;
}

// session logs in as another program.
export async function session() {
  const response = await fetch(`${world.url}/services/oauth2/token`, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: JWT, assertion: assertion() }),
  });
  assert.equal(response.status, 200);
  const body = await response.json();
  const [org, user] = body.id.split('/').slice(-2);
  return { token: body.access_token, instance: body.instance_url, org, user };
}

// call sends a JSON request as the other program.
export async function call(token, method, path, body) {
  const response = await fetch(world.url + path, {
    method,
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

// expireSessions ends every session that exists now.
export async function expireSessions() {
  await call('', 'PUT', '/__sandbox__/faults', { expire_sessions: true });
}
