// Cases of salesforce-pubsub-api-client.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import PubSubApiClient from 'salesforce-pubsub-api-client';
import { call, capability, session, world } from './world.mjs';

const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const topic = '/data/AccountChangeEvent';
const event = '/event/CarMaintenance__e';

// connect logs in, with a JWT bearer assertion unless told otherwise.
async function connect(t, login = {}) {
  assert.ok(world.pubsubTLS, 'the sandbox serves no Pub/Sub API over TLS');
  const client = new PubSubApiClient(
    {
      authType: 'oauth-jwt-bearer',
      loginUrl: world.url,
      clientId: world.clientId,
      username: world.username,
      privateKey: world.key,
      ...login,
      pubSubEndpoint: world.pubsubTLS,
      rejectUnauthorizedSsl: false,
    },
    quiet,
  );
  await client.connect();
  t.after(() => client.close());
  return client;
}

// gather makes a callback and promises of what the callback hears.
function gather() {
  const events = [];
  const waiting = [];
  let failure;
  const wake = () => {
    for (const w of [...waiting]) {
      if (failure) w.reject(failure);
      else if (events.length >= w.count) w.resolve(events.slice(0, w.count));
    }
  };
  return {
    events,
    hear(info, type, data) {
      if (type === 'event') events.push(data);
      if (type === 'error') failure = data;
      wake();
    },
    atLeast: (count) =>
      new Promise((resolve, reject) => {
        waiting.push({ count, resolve, reject });
        wake();
      }),
  };
}

// account creates an account over REST.
async function account(record) {
  const { token } = await session();
  const { id } = await call(token, 'POST', '/services/data/v62.0/sobjects/Account', record);
  return { id, update: (change) => call(token, 'PATCH', `/services/data/v62.0/sobjects/Account/${id}`, change), destroy: () => call(token, 'DELETE', `/services/data/v62.0/sobjects/Account/${id}`) };
}

// hears checks that a login is good for a subscription.
async function hears(client) {
  const { id } = await account({ Name: 'Heard' });
  const got = gather();
  client.subscribeFromEarliestEvent(topic, got.hear);
  for (let n = 1; ; n += 1) {
    const events = await got.atLeast(n);
    if (events[n - 1].payload.ChangeEventHeader.recordIds.includes(id)) return;
  }
}

capability('login-jwt', async (t) => {
  await hears(await connect(t));
  await assert.rejects(connect(t, { clientId: 'unknown' }), /authenticate/);
});

capability('login-client-credentials', async (t) => {
  await hears(await connect(t, { authType: 'oauth-client-credentials', clientSecret: world.clientSecret }));
});

capability('login-soap', async (t) => {
  await hears(await connect(t, { authType: 'username-password', password: world.password, userToken: world.securityToken }));
});

capability('login-session', async (t) => {
  const other = await session();
  // The client insists on https in the instance URL, although it never calls it here.
  await hears(await connect(t, { authType: 'user-supplied', accessToken: other.token, instanceUrl: other.instance.replace(/^http:/, 'https:'), organizationId: other.org }));
});

capability('topic', async (t) => {
  // The client reads the topic and the schema to encode what it publishes.
  const client = await connect(t);
  await assert.rejects(client.publish('/event/Nothing__e', {}), (error) => /NOT_FOUND|PERMISSION_DENIED/.test(error.cause?.cause?.message ?? error.cause?.message));
  const { id } = await account({ Name: 'Schema' });
  const got = gather();
  client.subscribeFromEarliestEvent(topic, got.hear, 1);
  const [first] = await got.atLeast(1);
  assert.ok(first.schemaId.length > 0);
  assert.equal(first.payload.ChangeEventHeader.entityName, 'Account');
  assert.ok(id);
});

capability('subscribe', async (t) => {
  const client = await connect(t);
  const got = gather();
  const seed = await account({ Name: 'Before' });
  client.subscribeFromEarliestEvent(topic, got.hear);
  await got.atLeast(1);
  const one = await account({ Name: 'Change', Phone: '1', BillingCity: 'Köln', AnnualRevenue: 1250 });
  await one.update({ Name: 'Changed', Phone: null, BillingCity: 'Bonn', BillingCountry: 'DE' });
  await one.destroy();
  let mine = [];
  for (let n = 1; mine.length < 3; n += 1) {
    mine = (await got.atLeast(n)).filter((e) => e.payload.ChangeEventHeader.recordIds.includes(one.id));
  }
  const [created, updated, deleted] = mine.map((e) => e.payload);
  assert.deepEqual(mine.map((e) => e.payload.ChangeEventHeader.changeType), ['CREATE', 'UPDATE', 'DELETE']);
  assert.equal(created.Name, 'Change');
  assert.equal(created.AnnualRevenue, 1250);
  assert.equal(created.BillingAddress.City?.string ?? created.BillingAddress.City ?? created.BillingAddress, 'Köln');
  const header = updated.ChangeEventHeader;
  for (const name of ['Name', 'Phone', 'LastModifiedDate', 'BillingAddress.City', 'BillingAddress.Country']) {
    assert.ok(header.changedFields.includes(name), `${name} in ${header.changedFields}`);
  }
  assert.deepEqual(header.nulledFields, ['Phone']);
  assert.equal(updated.Name, 'Changed');
  assert.equal(updated.AnnualRevenue, null);
  assert.match(header.changeOrigin, /^com\/salesforce\/api\/rest\/62\.0/);
  assert.ok(header.commitNumber > 0 && header.sequenceNumber >= 1 && header.commitTimestamp > 1e12);
  assert.deepEqual(header.changedFields.filter((f) => f === 'AnnualRevenue'), []);
  assert.equal(deleted.Name, null);
  assert.ok(mine[0].replayId < mine[1].replayId && mine[1].replayId < mine[2].replayId);
  assert.ok(seed.id);
});

capability('replay', async (t) => {
  const before = await account({ Name: 'Replay 1' });
  const after = await account({ Name: 'Replay 2' });
  const first = gather();
  (await connect(t)).subscribeFromEarliestEvent(topic, first.hear);
  let mark;
  for (let n = 1; !mark; n += 1) {
    mark = (await first.atLeast(n)).find((e) => e.payload.ChangeEventHeader.recordIds.includes(before.id));
  }
  const second = gather();
  (await connect(t)).subscribeFromReplayId(topic, second.hear, 1, mark.replayId);
  const [next] = await second.atLeast(1);
  assert.deepEqual(next.payload.ChangeEventHeader.recordIds, [after.id]);

  const bad = gather();
  (await connect(t)).subscribeFromReplayId(topic, bad.hear, 1, 1234567890123);
  await assert.rejects(bad.atLeast(1), (error) => error.code === 3 && /replay/i.test(`${error.metadata?.get('error-code')} ${error.message}`));
});

const maintenance = (miles) => ({
  CreatedDate: Date.now(),
  CreatedById: '005000000000001AAA',
  Mileage__c: { double: miles },
  Cost__c: { double: 99.4 },
  WorkDescription__c: { string: 'Replaced front brakes' },
});

capability('publish', async (t) => {
  const client = await connect(t);
  const key = crypto.randomUUID();
  const { replayId, correlationKey } = await client.publish(event, maintenance(95443), key);
  assert.ok(replayId > 0);
  assert.equal(correlationKey, key);
  const got = gather();
  client.subscribeFromEarliestEvent(event, got.hear, 1);
  const [received] = await got.atLeast(1);
  assert.equal(received.replayId, replayId);
  assert.equal(received.id, key);
  assert.equal(received.payload.Mileage__c, 95443);
  assert.equal(received.payload.WorkDescription__c, 'Replaced front brakes');
});

capability('publish-stream', async (t) => {
  const client = await connect(t);
  const results = [];
  let heard;
  const done = new Promise((resolve, reject) => {
    heard = (info, type, data) => {
      if (type === 'publishResponse') results.push(...data.results);
      if (type === 'error') reject(data);
      if (results.length === 3) resolve();
    };
  });
  const keys = [crypto.randomUUID(), crypto.randomUUID(), crypto.randomUUID()];
  await client.publishBatch(event, keys.slice(0, 2).map((id, i) => ({ id, payload: maintenance(i) })), heard);
  await client.publishBatch(event, [{ id: keys[2], payload: maintenance(2) }], heard);
  await done;
  assert.deepEqual(results.map((r) => r.correlationKey), keys);
  const got = gather();
  client.subscribeFromEarliestEvent(event, got.hear);
  let mine = [];
  for (let n = 1; mine.length < 3; n += 1) {
    mine = (await got.atLeast(n)).filter((e) => keys.includes(e.id));
  }
  assert.deepEqual(mine.map((e) => e.payload.Mileage__c), [0, 1, 2]);
});

capability('managed', async (t) => {
  const client = await connect(t);
  const got = gather();
  let info;
  await client.subscribeWithManagedSubscription('Certification', (i, type, data) => {
    info = i;
    got.hear(i, type, data);
  });
  const one = await account({ Name: 'Managed 1' });
  let mine;
  for (let n = 1; !mine; n += 1) {
    mine = (await got.atLeast(n)).find((e) => e.payload.ChangeEventHeader.recordIds.includes(one.id));
  }
  assert.ok(client.commitReplayId(info.subscriptionId, mine.replayId));
  const two = await account({ Name: 'Managed 2' });
  let next;
  for (let n = 1; !next; n += 1) {
    next = (await got.atLeast(n)).find((e) => e.payload.ChangeEventHeader.recordIds.includes(two.id));
  }
  client.close();

  const again = gather();
  const resumed = await connect(t);
  await resumed.subscribeWithManagedSubscription('Certification', again.hear);
  const [first] = await again.atLeast(1);
  assert.deepEqual(first.payload.ChangeEventHeader.recordIds, [two.id]);
});
