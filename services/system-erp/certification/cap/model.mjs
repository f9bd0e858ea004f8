// Makes a model of CAP out of the metadata documents that our own sandbox serves: SAP's interface descriptions are not free.
// It is made anew for every run, so it is never behind the sandbox, and nothing of SAP is kept here.
import { parseStringPromise } from 'xml2js';

// One part of an OData service of SAP, and where it is served.
export const services = [
  'API_BUSINESS_PARTNER', 'API_PRODUCT_SRV', 'API_SLSPRICINGCONDITIONRECORD_SRV', 'API_SALES_ORDER_SRV', 'API_MATERIAL_STOCK_SRV',
  'API_OUTBOUND_DELIVERY_SRV;v=0002', 'API_PRODUCT_AVAILY_INFO_BASIC',
];
export const root = '/sap/opu/odata/sap/';

// Links whose ends have other names, and links to what is another's part already.
const renamed = { to_BusinessPartnerContact: { BusinessPartner: 'BusinessPartnerCompany' } };
const seconds = new Set(['to_MobilePhoneNumber']);

const types = {
  'Edm.String': (a) => ({ type: 'cds.String', length: Number(a.MaxLength) || 255 }),
  'Edm.Decimal': (a) => (a.Precision ? { type: 'cds.Decimal', precision: Number(a.Precision), scale: Number(a.Scale) } : { type: 'cds.Decimal' }),
  'Edm.Boolean': () => ({ type: 'cds.Boolean' }),
  'Edm.DateTime': () => ({ type: 'cds.Date' }), // all of them are days: sap:display-format="Date"
  'Edm.DateTimeOffset': () => ({ type: 'cds.Timestamp' }),
  'Edm.Time': () => ({ type: 'cds.Time' }),
  'Edm.Guid': () => ({ type: 'cds.UUID' }),
};

// element is a property. Texts and switches have no null in SAP.
function element(attributes, key) {
  const make = types[attributes.Type];
  if (!make) throw new Error(`no type of CAP for ${attributes.Type}`);
  const e = make(attributes);
  if (key) Object.assign(e, { key: true, notNull: true });
  else if (e.type === 'cds.String') e.default = { val: '' };
  else if (e.type === 'cds.Boolean') e.default = { val: false };
  for (const can of ['creatable', 'updatable']) if (attributes[`sap:${can}`] === 'false') e[`@sap.${can}`] = false;
  if (attributes['sap:display-format'] === 'UpperCase') e['@sap.display.format'] = 'UpperCase';
  if (attributes.Name === 'ETag' || attributes.ConcurrencyMode === 'Fixed') e['@odata.etag'] = true;
  return e;
}

const list = (x) => x ?? [];
const last = (name) => name.slice(name.lastIndexOf('.') + 1);
const keysOf = (type) => type.Key[0].PropertyRef.map((r) => r.$.Name);

// link is a navigation: the metadata says only whereto, the ends are the keys of equal names.
function link(schema, source, target, many, name, service) {
  const have = new Set(target.Property.map((p) => p.$.Name));
  const own = new Set(source.Property.map((p) => p.$.Name));
  const keys = many ? keysOf(source) : keysOf(target).filter((k) => own.has(k));
  const pairs = keys.map((k) => [k, renamed[name]?.[k] ?? k]).filter(([, to]) => have.has(to));
  if (pairs.length === 0) throw new Error(`${name} has no ends`);
  const on = pairs.flatMap(([from, to], i) => [...(i ? ['and'] : []), { ref: [name, to] }, '=', { ref: [from] }]);
  const type = seconds.has(name) ? 'cds.Association' : 'cds.Composition';
  return { type, cardinality: { max: many ? '*' : 1 }, target: `${service}.${schema.setOf[target.$.Name]}`, on };
}

function entity(schema, type, set, service) {
  const keys = new Set(keysOf(type));
  const out = { kind: 'entity', elements: {} };
  for (const p of type.Property) out.elements[p.$.Name] = element(p.$, keys.has(p.$.Name));
  for (const n of list(type.NavigationProperty)) {
    const end = schema.ends[last(n.$.Relationship)].find((e) => e.$.Role === n.$.ToRole);
    out.elements[n.$.Name] = link(schema, type, schema.types[last(end.$.Type)], end.$.Multiplicity === '*', n.$.Name, service);
  }
  const can = { creatable: 'InsertRestrictions.Insertable', updatable: 'UpdateRestrictions.Updatable', deletable: 'DeleteRestrictions.Deletable' };
  for (const [ours, theirs] of Object.entries(can)) {
    if (set[`sap:${ours}`] === 'false') Object.assign(out, { [`@sap.${ours}`]: false, [`@Capabilities.${theirs}`]: false });
  }
  return out;
}

function operation(f, service) {
  const returns = /^Collection\((.*)\)$/.exec(f.ReturnType);
  const type = `${service}.${last(returns ? returns[1] : f.ReturnType)}`;
  return { kind: 'function', params: {}, returns: returns ? { items: { type } } : { type } };
}

// model turns { service: metadata document } into CSN.
export async function model(documents) {
  const definitions = {};
  for (const [path, text] of Object.entries(documents)) {
    const service = path.replace(/;.*/, '');
    const edmx = (await parseStringPromise(text))['edmx:Edmx']['edmx:DataServices'][0].Schema[0];
    const container = edmx.EntityContainer[0];
    const sets = list(container.EntitySet).map((s) => s.$);
    const schema = {
      types: Object.fromEntries(list(edmx.EntityType).map((t) => [t.$.Name, t])),
      ends: Object.fromEntries(list(edmx.Association).map((a) => [a.$.Name, a.End])),
      setOf: Object.fromEntries(sets.map((s) => [last(s.EntityType), s.Name])),
    };
    definitions[service] = { kind: 'service', '@protocol': [{ kind: 'odata-v4', path: `/v4/${service}` }, { kind: 'odata-v2', path: root + path }] };
    for (const s of sets) definitions[`${service}.${s.Name}`] = entity(schema, schema.types[last(s.EntityType)], s, service);
    for (const c of list(edmx.ComplexType)) {
      definitions[`${service}.${c.$.Name}`] = { kind: 'type', elements: Object.fromEntries(c.Property.map((p) => [p.$.Name, element(p.$, false)])) };
    }
    for (const f of list(container.FunctionImport)) {
      const op = operation(f.$, service);
      for (const p of list(f.Parameter)) op.params[p.$.Name] = element(p.$, false);
      definitions[`${service}.${f.$.Name}`] = op;
    }
  }
  return { $version: '2.0', definitions };
}
