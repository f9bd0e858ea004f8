// Writes one JSON line for each case: name, passed, reason.
export default async function* report(events) {
  for await (const { type, data } of events) {
    if (data?.nesting !== 0) continue;
    if (type === 'test:pass' && !data.skip && !data.todo) {
      yield `${JSON.stringify({ name: data.name, passed: true })}\n`;
    } else if (type === 'test:pass') {
      yield `${JSON.stringify({ name: data.name, passed: false, reason: 'the case was skipped' })}\n`;
    } else if (type === 'test:fail') {
      yield `${JSON.stringify({ name: data.name, passed: false, reason: explain(data.details?.error) })}\n`;
    }
  }
}

// explain collects the messages of an error and its causes.
function explain(error) {
  const messages = [];
  for (let e = error; e && messages.length < 5; e = e.cause) {
    const message = typeof e === 'string' ? e : e.message || e.errorCode || e.code || e.name;
    if (message && !messages.includes(message)) messages.push(message);
  }
  return messages.join(': ') || 'no reason given';
}
