package overlay

import (
	"fmt"
	"slices"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
)

func method(operation string) protoreflect.MethodDescriptor {
	return mobilev1.File_selfsame_mobile_v1_mobile_service_proto.Services().ByName("MobileService").Methods().ByName(protoreflect.Name(operation))
}

// shapeMessages tells apart what is sent and what is answered. An answer has every member that is not a message or a time: the edge
// writes empty ones, too. What is sent has the limits of the contract; an answer may hold what is beyond them, because systems do.
func shapeMessages(schemas object) error {
	for name, from := range map[string]string{"NewCustomer": "Customer", "CustomerUpdate": "Customer", "NewAddress": "Address", "AddressUpdate": "Address"} {
		s, err := writable(schemas, from)
		if err != nil {
			return err
		}
		schemas[name] = s
	}
	describe := func(name, text string) object {
		s := schemas[name].(object) //nolint:forcetypeassert // it was made above
		s["description"] = text
		return s
	}
	describe("NewAddress", "NewAddress is a postal address to write.")
	added := describe("NewCustomer", "NewCustomer is a customer to make.")
	added["required"] = []any{"name"}
	refer(added, "address", "NewAddress")
	changed := describe("CustomerUpdate", "CustomerUpdate holds the fields to change; a field that is null is cleared, one that is absent stays.")
	refer(changed, "address", "AddressUpdate")
	clearable(changed, "name")
	parts := describe("AddressUpdate", "AddressUpdate holds the parts of the address to change; one that is null is cleared, as is the whole address, one that is absent stays.")
	clearable(parts, "")
	parts["type"] = []any{"object", "null"}
	mutation, err := dig(schemas, "Mutation")
	if err != nil {
		return err
	}
	refer(mutation, "customer", "CustomerUpdate")

	messages := mobilev1.File_selfsame_mobile_v1_mobile_service_proto.Messages()
	for name, of := range map[string]protoreflect.Name{
		"NewCustomer": "Customer", "CustomerUpdate": "Customer", "NewAddress": "Address", "AddressUpdate": "Address", "NewOrder": "NewOrder",
		"NewOrderItem": "NewOrderItem", "NewCase": "NewCase", "Cancellation": "Cancellation", "Mutation": "Mutation", "MutationBatch": "MutationBatch",
	} {
		properties, err := dig(schemas, name, "properties")
		if err != nil {
			return err
		}
		fields := messages.ByName(of).Fields()
		for i := range fields.Len() {
			if p, ok := properties[fields.Get(i).JSONName()].(object); ok && p["$ref"] == nil {
				limit(p, fields.Get(i))
			}
		}
	}
	return answered(schemas)
}

// writable returns a schema of what a client may write of a message, none of it required.
func writable(schemas object, name string) (object, error) {
	all, err := dig(schemas, name, "properties")
	if err != nil {
		return nil, err
	}
	properties := object{}
	for name, p := range all {
		o, ok := p.(object)
		if !ok || o["readOnly"] == true {
			continue
		}
		own := object{}
		for k, v := range o {
			own[k] = v
		}
		properties[name] = own
	}
	return object{"type": "object", "properties": properties}, nil
}

func refer(schema object, property, to string) {
	properties, _ := schema["properties"].(object)
	if p, ok := properties[property].(object); ok {
		p["$ref"] = refBase + to
	}
}

// clearable says of every property but one that it may be null.
func clearable(schema object, but string) {
	properties, _ := schema["properties"].(object)
	for name, p := range properties {
		if o, ok := p.(object); ok && name != but && o["type"] != nil {
			o["type"] = []any{o["type"], "null"}
		}
	}
}

// limit adds the rules of the contract for a field.
func limit(schema object, field protoreflect.FieldDescriptor) {
	rules, ok := proto.GetExtension(field.Options(), validate.E_Field).(*validate.FieldRules)
	if !ok || rules == nil {
		return
	}
	if s := rules.GetString(); s != nil {
		if s.HasMinLen() {
			schema["minLength"] = s.GetMinLen()
		}
		if s.HasMaxLen() {
			schema["maxLength"] = s.GetMaxLen()
		}
		if s.HasPattern() {
			schema["pattern"] = s.GetPattern()
		}
	}
	if n := rules.GetInt32(); n != nil {
		if n.HasGte() {
			schema["minimum"] = n.GetGte()
		}
		if n.HasLte() {
			schema["maximum"] = n.GetLte()
		}
	}
	if l := rules.GetRepeated(); l != nil {
		if l.HasMinItems() {
			schema["minItems"] = l.GetMinItems()
		}
		if l.HasMaxItems() {
			schema["maxItems"] = l.GetMaxItems()
		}
	}
}

// limitParameters adds the rules of the contract for the parameters of an operation.
func limitParameters(operation string, params []any) {
	m := method(operation)
	for _, p := range params {
		o, _ := p.(object)
		name, _ := o["name"].(string)
		schema, ok := o["schema"].(object)
		if m == nil || !ok {
			continue
		}
		field := m.Input().Fields().ByJSONName(name)
		if field == nil {
			field = m.Input().Fields().ByName(protoreflect.Name(name)) // in a path
		}
		if field != nil {
			limit(schema, field)
		}
	}
}

// answered says of every message that is answered which members it always has.
func answered(schemas object) error {
	seen := map[protoreflect.FullName]bool{}
	var walk func(m protoreflect.MessageDescriptor) error
	walk = func(m protoreflect.MessageDescriptor) error {
		if seen[m.FullName()] || m.ParentFile().Package() == "google.protobuf" {
			return nil
		}
		seen[m.FullName()] = true
		var always []string
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			if !f.HasPresence() {
				always = append(always, f.JSONName())
			}
			if f.Message() == nil {
				continue
			}
			if err := walk(f.Message()); err != nil {
				return fmt.Errorf("%s: %w", m.Name(), err)
			}
		}
		// What holds one message only is not in the description: the answer is that message.
		if s, ok := schemas[string(m.Name())].(object); ok && len(always) > 0 {
			slices.Sort(always)
			s["required"] = always
		}
		return nil
	}
	methods := mobilev1.File_selfsame_mobile_v1_mobile_service_proto.Services().ByName("MobileService").Methods()
	for i := range methods.Len() {
		if err := walk(methods.Get(i).Output()); err != nil {
			return err
		}
	}
	return nil
}
