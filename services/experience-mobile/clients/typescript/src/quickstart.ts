// The quickstart of the mobile API, as an app would write it. REST is where the API is, TOKEN a bearer token.
import createClient, { type Middleware } from "openapi-fetch";
import { randomUUID } from "node:crypto";
import type { components, paths } from "./schema.js";

type Customer = components["schemas"]["Customer"];
type CustomerUpdate = components["schemas"]["CustomerUpdate"];
type Order = components["schemas"]["Order"];
type Problem = components["schemas"]["Problem"];

function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

function expect(ok: boolean, what: string): asserts ok {
  if (!ok) throw new Error(`not as promised: ${what}`);
  console.log(`ok: ${what}`);
}

// answered returns what a call was answered, or fails with the problem's code.
function answered<T>(call: { data?: T; error?: unknown; response: Response }): T {
  if (call.data === undefined) {
    throw new Error(`${call.response.status} ${call.response.headers.get("X-Error-Code") ?? ""} ${JSON.stringify(call.error)}`);
  }
  return call.data;
}

const token: Middleware = {
  onRequest({ request }) {
    request.headers.set("Authorization", `Bearer ${setting("TOKEN")}`);
    request.headers.set("App-Version", "1.0.0");
    return request;
  },
};

const api = createClient<paths>({ baseUrl: setting("REST") });
api.use(token);

// A key belongs to what the user wants, not to a try: it is stored before it is sent, and sent again with every try.
const key = (): string => randomUUID();

async function readsScreens(): Promise<Customer> {
  const meta = answered(await api.GET("/v1/meta"));
  expect(meta.capabilities !== undefined, "the service says what it can do");
  const page = answered(await api.GET("/v1/customers", { params: { query: { pageSize: 50 } } }));
  const customer = page.customers.find((c) => c.erpNumber);
  expect(customer !== undefined, "there is a customer that the ERP has");
  const id = customer.customerId;
  const path = { customer_id: id };
  const screen = await api.GET("/v1/customers/{customer_id}", { params: { path } });
  expect(answered(screen).customerId === id, "a customer's screen is one call");
  const tag = screen.response.headers.get("ETag");
  expect(tag !== null, "a screen has an entity tag");
  const again = await api.GET("/v1/customers/{customer_id}", { params: { path, header: { "If-None-Match": tag } } });
  expect(again.response.status === 304 || again.response.headers.get("ETag") !== tag, "what did not change is not sent again");
  return customer;
}

async function writesOnce(): Promise<void> {
  const wanted = { name: `Quickstart ${randomUUID()} GmbH`, address: { city: "Bonn", country: "DE" } };
  const header = { "Idempotency-Key": key() };
  const first = await api.POST("/v1/customers", { params: { header }, body: wanted });
  const made = answered(first);
  expect(first.response.status === 201, "a customer is made");
  const retry = await api.POST("/v1/customers", { params: { header }, body: wanted });
  expect(answered(retry).customerId === made.customerId, "the same key makes nothing new");
  expect(retry.response.headers.get("Idempotent-Replayed") === "true", "and says so");

  const path = { customer_id: made.customerId };
  const patch = (ifMatch: string, body: CustomerUpdate) =>
    api.PATCH("/v1/customers/{customer_id}", { params: { path, header: { "Idempotency-Key": key(), "If-Match": ifMatch } }, body });
  // The customer is on its way to both systems and may change meanwhile: who is too late looks again.
  let tag = '"old"';
  const change = async (body: CustomerUpdate): Promise<Customer> => {
    let changed = await patch(tag, body);
    for (let tries = 0; changed.response.status === 412 && tries < 50; tries++) {
      const shown = await api.GET("/v1/customers/{customer_id}", { params: { path } });
      tag = shown.response.headers.get("ETag") ?? "";
      changed = await patch(tag, body);
    }
    return answered(changed);
  };
  const moved = await change({ phone: "+49 228 1", address: { street: "Markt 1" } });
  expect(moved.phone === "+49 228 1", "a change that is based on what is there is made");
  expect(moved.address?.street === "Markt 1" && moved.address.city === "Bonn", "the parts of an address that are absent stay");
  expect((await change({ phone: null })).phone === "", "null clears");
  const stale = await patch('"old"', { phone: "+49 228 2" });
  const problem: Problem | undefined = stale.error;
  expect(stale.response.status === 412 && problem?.code === "ETAG_MISMATCH", "one that is based on an old state is refused");
}

async function placesOrder(customer: Customer): Promise<string> {
  const placed = await api.POST("/v1/orders", {
    params: { header: { "Idempotency-Key": key() } },
    body: { customerId: customer.customerId, items: [{ sku: "PUMP-100", quantity: "1" }] },
  });
  const order = answered(placed);
  expect(placed.response.status === 201, "an order is placed");
  const refused = await api.POST("/v1/orders", {
    params: { header: { "Idempotency-Key": key() } },
    body: { customerId: customer.customerId, items: [{ sku: "no such thing", quantity: "1" }] },
  });
  expect(refused.error?.errors?.[0]?.pointer === "/items/0/sku", "a refusal points at what is wrong");
  return order.orderId;
}

async function followsOrder(order: string): Promise<void> {
  const abort = new AbortController();
  const { data, response } = await api.GET("/v1/orders/{order_id}/events", {
    params: { path: { order_id: order } },
    headers: { Accept: "text/event-stream" },
    parseAs: "stream",
    signal: abort.signal,
  });
  expect(response.status === 200 && data !== undefined && data !== null, "an order can be followed");
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of data as unknown as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    const event = /event: order\nid: (\S+)\ndata: (.*)\n\n/.exec(text);
    if (event?.[2]) {
      const told = JSON.parse(event[2]) as Order;
      expect(told.orderId === order, "its state comes as an event");
      break;
    }
  }
  abort.abort();
}

async function worksOffline(): Promise<void> {
  const stored = new Map<string, Customer>();
  // pull brings what is stored up to date and returns the token to come back with.
  const pull = async (since?: string): Promise<string> => {
    let query: { pageToken?: string; syncToken?: string } = since ? { syncToken: since } : {};
    for (;;) {
      const page = answered(await api.GET("/v1/sync/customers", { params: { query } }));
      for (const one of page.customers) {
        if (one.deleted) stored.delete(one.customerId); // a tombstone; mergedInto says who took its place
        else if (one.customer) stored.set(one.customerId, one.customer);
      }
      if (page.syncToken) return page.syncToken;
      query = { pageToken: page.nextPageToken };
    }
  };
  let token = await pull();
  expect(stored.size > 0, "everything can be pulled, with a token to come back with");
  const name = `Offline ${randomUUID()} GmbH`;
  const made = answered(await api.POST("/v1/sync:apply", {
    body: { mutations: [{ kind: "CREATE_CUSTOMER", key: key(), customer: { name, address: { city: "Bonn" } } }] },
  })).results[0];
  expect(made?.status === 201 && made.customer !== undefined, "what was queued is applied");
  const customerId = made.customer.customerId;
  const changed = answered(await api.POST("/v1/sync:apply", {
    body: { mutations: [{ kind: "UPDATE_CUSTOMER", key: key(), customerId, customer: { address: { street: "Markt 1" } }, fields: ["address.street"] }] },
  })).results[0];
  expect(changed?.status === 200 && changed.customer?.address?.city === "Bonn", "a queued change names what it changes");
  token = await pull(token);
  expect(stored.get(customerId)?.address?.street === "Markt 1", "what changed since is pulled");
}

const customer = await readsScreens();
await writesOnce();
await followsOrder(await placesOrder(customer));
await worksOffline();
console.log("quickstart done");
