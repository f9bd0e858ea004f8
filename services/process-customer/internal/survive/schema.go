package survive

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// SchemaID is where the schema is published.
const SchemaID = "https://github.com/selfsame-io/selfsame/blob/main/docs/reference/rules.schema.json"

type object = map[string]any

// Schema returns the JSON Schema (2020-12) of a rule file, for editors. What it cannot say, such as that a list of
// masters names systems of the same file, only Parse checks.
func Schema() []byte {
	root := object{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SchemaID, "title": "Selfsame survivorship rules",
		"$defs": object{"field": schemaField()},
	}
	doc := closed(keysTop, object{
		"version":      object{"type": "integer", "minimum": 1, "maximum": 1<<31 - 1, "description": "Number to be raised with each change."},
		"systems":      schemaSystems(),
		"blank_values": object{"type": "array", "uniqueItems": true, "items": object{"type": "string", "minLength": 1}, "description": "Words that mean nothing, in any case."},
		"defaults":     closed(keysDefaults, common(texts(strategiesDefault), texts(blanks))),
		"objects":      schemaObjects(),
	})
	doc["required"] = []string{"version", "systems"}
	for k, v := range doc {
		root[k] = v
	}
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("survive: the schema is no JSON: %v", err))
	}
	return append(text, '\n')
}

// closed is an object with these properties and no others. Every key must have its schema.
func closed(keys []string, properties object) object {
	for _, k := range keys {
		if properties[k] == nil {
			panic("survive: the schema says nothing about " + k)
		}
	}
	if len(keys) != len(properties) {
		panic("survive: the schema has keys that the parser does not: " + strings.Join(keys, ", "))
	}
	return object{"type": "object", "additionalProperties": false, "properties": properties}
}

func number(least, most int) object {
	return object{"type": "integer", "minimum": least, "maximum": most}
}

func duration(description string) object {
	return object{"type": "string", "pattern": `^-?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|^0$`, "description": description}
}

func enum(words []string, description string) object {
	return object{"enum": words, "description": description}
}

func nameList(description string) object {
	return object{"type": "array", "uniqueItems": true, "items": object{"type": "string"}, "description": description}
}

func schemaSystems() object {
	system := closed(keysSystem, object{
		"priority": object{"type": "integer", "minimum": 0, "maximum": 1_000_000, "description": "The greater wins where times are too close to tell."},
		"clock": closed(keysClock, object{
			"offset":     duration("How much the clock of the system is ahead."),
			"max_future": duration("How much later than its receipt an edit may count."),
		}),
	})
	system["required"] = []string{"priority"}
	return object{
		"type": "object", "minProperties": 1, "additionalProperties": system, "propertyNames": object{"not": object{"const": golden.SystemPin}},
		"description": "Every system by its configured name.",
	}
}

// common is what fields, units and defaults share.
func common(strategies, blanks []string) object {
	return object{
		"strategy":  enum(strategies, "Who decides."),
		"bucket":    duration("Width of a time bucket, from 1us to 24h."),
		"blank":     enum(blanks, "What it means that somebody emptied the field."),
		"overruled": enum(texts(policies), "What becomes of an edit that does not win, where it was made."),
	}
}

// shared adds what fields and units share.
func shared(p object) object {
	p["master"] = nameList("Systems that decide, in their order; with the strategy master.")
	p["trust"] = object{"type": "object", "minProperties": 1, "additionalProperties": number(1, 100), "description": "How much each system is trusted; with the strategy trust."}
	p["write_to"] = nameList("Systems that the golden value is written to; all when left out.")
	return p
}

// needs says which key a strategy asks for, and that no other may have it.
func needs(key string, s strategy) object {
	return object{
		"if":   object{"properties": object{"strategy": object{"const": s}}, "required": []string{"strategy"}},
		"then": object{"required": []string{key}},
		"else": object{"properties": object{key: false}},
	}
}

func schemaObjects() object {
	objects := object{}
	var keys []string
	for _, obj := range golden.Objects() {
		fields := object{}
		for _, f := range golden.Fields(obj) {
			fields[f] = object{"$ref": "#/$defs/field"}
		}
		unit := closed(keysUnit, shared(withUnit(obj)))
		unit["required"] = []string{"fields"}
		unit["allOf"] = []object{needs("master", master), needs("trust", trust)}
		keys = append(keys, string(obj))
		objects[string(obj)] = closed(keysObject, object{
			"create": nameList("Systems whose records are created in the other systems; all when left out."),
			"delete": nameList("Systems of which each alone deletes the golden record; none when left out."),
			"units":  object{"type": "object", "additionalProperties": unit, "description": "Fields that move together."},
			"fields": closed(golden.Fields(obj), fields),
		})
	}
	return closed(keys, objects)
}

func withUnit(obj golden.Object) object {
	p := common(texts(strategiesUnit), texts(blanksUnit))
	members := object{"enum": golden.Fields(obj)}
	p["fields"] = object{"type": "array", "minItems": 2, "uniqueItems": true, "items": members, "description": "The members."}
	p["require_any"] = object{"type": "array", "minItems": 1, "uniqueItems": true, "items": members, "description": "Members of which one must have a value for the record to count."}
	return p
}

func schemaField() object {
	single := make([]string, 0, len(strategies))
	for _, s := range strategies {
		if s != complete {
			single = append(single, string(s))
		}
	}
	p := shared(common(single, texts(blanks)))
	names := object{"enum": normaliserNames()}
	p["normalise"] = object{"anyOf": []object{names, {"type": "array", "uniqueItems": true, "items": names}}, "description": "Forms that values are brought into, in this order."}
	p["separator"] = object{"type": "string", "minLength": 1, "maxLength": 1, "not": object{"const": " "}, "description": "Between the items of a list; with the strategy union."}
	p["max_items"] = number(1, maxItems)
	field := closed(keysField, p)
	joined := object{
		"if":   object{"not": object{"properties": object{"strategy": object{"const": union}}, "required": []string{"strategy"}}},
		"then": object{"properties": object{"separator": false, "max_items": false}},
	}
	field["allOf"] = []object{needs("master", master), needs("trust", trust), joined}
	return field
}
