package edge

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/serve"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

// bodyRules are what the contract says about a body beyond its shape. They are read once: extensions of descriptors are
// expensive to look at.
type bodyRules struct {
	message protoreflect.MessageDescriptor
	// kind makes the message that a body stands for.
	kind  protoreflect.MessageType
	shape *shape
	// required are the fields of the body itself that must have a value.
	required []protoreflect.FieldDescriptor
}

// shape is how the messages of a type are read: their fields by name.
type shape struct{ fields map[string]*shapeField }

type shapeField struct {
	desc protoreflect.FieldDescriptor
	name string
	kind protoreflect.Kind
	// list is true for a list, odd for what is neither that nor one value.
	list, odd          bool
	readOnly, required bool
	// message is the shape of the value if it is a message; foreign ones are not ours, and have a form of their own.
	message *shape
	foreign bool
	// tag begins the field on the wire, empty is the field with the value that stands for none.
	tag, empty []byte
}

func newBodyRules(message protoreflect.MessageDescriptor) *bodyRules {
	r := &bodyRules{message: message, kind: dynamicpb.NewMessageType(message)}
	if generated, err := protoregistry.GlobalTypes.FindMessageByName(message.FullName()); err == nil {
		r.kind = generated
	}
	r.shape = newShape(message, map[protoreflect.MessageDescriptor]*shape{})
	for i := range message.Fields().Len() {
		if f := message.Fields().Get(i); behaves(f, annotations.FieldBehavior_REQUIRED) {
			r.shape.fields[f.JSONName()].required = true
			r.required = append(r.required, f)
		}
	}
	return r
}

// newShape returns the shape of a message. Messages hold each other: known are those begun.
func newShape(message protoreflect.MessageDescriptor, known map[protoreflect.MessageDescriptor]*shape) *shape {
	if s := known[message]; s != nil {
		return s
	}
	s := &shape{fields: map[string]*shapeField{}}
	known[message] = s
	for i := range message.Fields().Len() {
		f := message.Fields().Get(i)
		one := &shapeField{
			desc: f, name: f.JSONName(), kind: f.Kind(), list: f.IsList(), odd: f.IsMap(), readOnly: behaves(f, annotations.FieldBehavior_OUTPUT_ONLY),
		}
		if m := f.Message(); m != nil {
			one.message, one.foreign = newShape(m, known), m.ParentFile().Package() == "google.protobuf"
		}
		one.tag, one.empty = wireOf(f)
		s.fields[one.name] = one
	}
	return s
}

// wireOf returns what begins a field on the wire, and the whole of one with the value that stands for none.
func wireOf(f protoreflect.FieldDescriptor) (tag, empty []byte) {
	kind, none := protowire.VarintType, []byte{0}
	switch f.Kind() {
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		kind = protowire.BytesType
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		kind, none = protowire.Fixed32Type, make([]byte, 4)
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		kind, none = protowire.Fixed64Type, make([]byte, 8)
	}
	tag = protowire.AppendTag(nil, f.Number(), kind)
	return tag, append(slices.Clone(tag), none...)
}

func behaves(field protoreflect.FieldDescriptor, as annotations.FieldBehavior) bool {
	behaviors, ok := proto.GetExtension(field.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return ok && slices.Contains(behaviors, as)
}

// checkJSON refuses a body that is not exactly what the contract describes. The decoder behind it would silently
// accept or reject with a parser's text; this one names every place.
func (e *edge) checkJSON(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callOf(r.Context())
		if c.route.body == nil {
			next.ServeHTTP(w, r)
			return
		}
		checked, err := checkBody(c.body, c.route.body)
		if err != nil {
			e.refuse(w, r, e.problems.New(problem.MalformedJSON, ""))
			return
		}
		c.missing = checked.missing(c.route.bodyField, r.Method == http.MethodPatch)
		found := checked.found
		if batch, ok := checked.made.Interface().(interface{ GetMutations() []*mobilev1.Mutation }); ok {
			c.writes = len(batch.GetMutations())
		}
		if len(found) == 0 {
			if body, ok := r.Body.(*heldBody); ok && !checked.partly {
				body.made = checked.made.Interface()
			}
			next.ServeHTTP(w, r)
			return
		}
		if checked.members { // what is no object lacks nothing and breaks no rule
			for _, f := range c.missing {
				found = append(found, c.route.where(f))
			}
			if !checked.partly && checked.elements <= maxRuled && len(found) < maxViolations {
				found = append(found, e.broken(c.route, checked.made, found)...)
			}
		}
		e.refuse(w, r, e.invalid(found[:min(len(found), maxViolations)]))
	})
}

// broken returns the rules of the contract that the body breaks where nothing else is wrong, so that all is told at once: behind the edge
// they are only checked of what has the shape of the contract. What has not was left out, so a rule about anything around it says nothing.
func (e *edge) broken(rt *route, made protoreflect.Message, found []problem.Violation) []problem.Violation {
	fields, err := serve.Broken(made.Interface())
	if err != nil {
		return nil // the refusal stands without it
	}
	for i := range fields {
		fields[i].Path = rt.bodyField + "." + fields[i].Path
	}
	refusal := fault.New(fault.Invalid, fault.ReasonValidationFailed, "")
	refusal.Fields = fields
	return slices.DeleteFunc(e.problems.FromError(refusal, rt.where).Errors, func(v problem.Violation) bool {
		return slices.ContainsFunc(found, func(f problem.Violation) bool {
			return v.Pointer == nil || within(*v.Pointer, *f.Pointer) || within(*f.Pointer, *v.Pointer)
		})
	})
}

// within reports whether a JSON pointer points to what another points to, or into it.
func within(inner, outer string) bool {
	rest, ok := strings.CutPrefix(inner, outer)
	return ok && (rest == "" || rest[0] == '/')
}

// maxRuled is up to how many elements of lists the rules are checked in the place of the services behind, which turn callers away first
// when they have too much to do. No request of the contract needs as many.
const maxRuled = 1000

var errMalformed = errors.New("malformed json")

// checker reads a body once. Its decoder refuses what is no JSON, text that is not UTF-8, and escapes of half a character.
type checker struct {
	dec   *jsontext.Decoder
	rules *bodyRules
	// at are the names and numbers that lead to where the decoder is.
	at    []string
	found []problem.Violation
	// members is true if the body is an object.
	members bool
	// given are the required fields that were there, filled those that hold something.
	given, filled []protoreflect.FieldDescriptor
	// wire is the message that the body stands for, without what is wrong, as far as it is known. To make a message of it is cheaper than to
	// set one field after the other.
	wire []byte
	// made is that message in the end.
	made protoreflect.Message
	// partly is true if something that is not wrong is not in it, or in another form.
	partly bool
	// elements are those of all lists.
	elements int
}

// checkBody compares a body with the contract. It fails only if the body is not one JSON value.
func checkBody(body []byte, rules *bodyRules) (*checker, error) {
	c := &checker{
		dec: jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true)), rules: rules, made: rules.kind.New(),
		at: make([]string, 0, usualDepth), wire: make([]byte, 0, len(body)),
	}
	if c.dec.PeekKind() != '{' {
		if err := c.skip(); err != nil {
			return nil, err
		}
		c.add(wrongType, "The body must be an object.")
	} else {
		c.members = true
		if err := c.object(rules.shape); err != nil {
			return nil, err
		}
	}
	if _, err := c.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errMalformed
	}
	if proto.Unmarshal(c.wire, c.made.Interface()) != nil {
		c.partly = true // too deep: the decoder behind says so
	}
	return c, nil
}

// usualDepth is how many names lead to what is innermost in most bodies.
const usualDepth = 8

// missing returns the required fields that the body leaves blank; a PATCH need not name them, but must not clear them.
// Package rpc refuses them too. Here they are only noted, so that a request that also breaks a validation rule
// learns of everything at once.
func (c *checker) missing(bodyField string, patch bool) []fault.Field {
	var out []fault.Field
	for _, f := range c.rules.required {
		if !slices.Contains(c.filled, f) && (!patch || slices.Contains(c.given, f)) {
			out = append(out, fault.Field{Path: bodyField + "." + string(f.Name()), Reason: "REQUIRED", Description: "The field must not be blank."})
		}
	}
	return out
}

func (c *checker) add(code, detail string) {
	if len(c.found) >= maxViolations {
		return
	}
	var pointer strings.Builder
	for _, name := range c.at {
		pointer.WriteString("/" + escape(printable(name)))
	}
	c.found = append(c.found, problem.At(pointer.String(), code, detail))
}

// object checks an object, braces included, and adds what it holds.
func (c *checker) object(of *shape) error {
	if _, err := c.dec.ReadToken(); err != nil {
		return errMalformed
	}
	var room [16]*shapeField // for most messages
	seen := room[:0]
	for {
		if c.dec.PeekKind() == '}' {
			if _, err := c.dec.ReadToken(); err != nil {
				return errMalformed
			}
			return nil
		}
		text, err := c.text()
		if err != nil {
			return err
		}
		field := of.fields[string(text)]
		if field == nil {
			c.at = append(c.at, string(text))
			c.add(unknownField, "There is no such field.")
		} else {
			c.at = append(c.at, field.name)
			switch {
			case slices.Contains(seen, field):
				c.add(duplicateField, "The field is given twice.")
				field = nil
			case field.readOnly:
				c.add(readOnly, "The field is set by the service; it must not be sent.")
				field = nil
			default:
				seen = append(seen, field)
			}
		}
		if err := c.member(field); err != nil {
			return err
		}
		c.at = c.at[:len(c.at)-1]
	}
}

// text reads a string. What it returns is good until the next is read.
func (c *checker) text() ([]byte, error) {
	quoted, err := c.dec.ReadValue()
	if err != nil {
		return nil, errMalformed
	}
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	text, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		return nil, errMalformed
	}
	return text, nil
}

// member checks one value and adds it; a nil field only reads over it.
func (c *checker) member(field *shapeField) error {
	kind := c.dec.PeekKind()
	if field != nil && field.required && len(c.at) == 1 {
		c.given = append(c.given, field.desc)
		if kind != 'n' && kind != '"' {
			c.filled = append(c.filled, field.desc)
		}
	}
	if field == nil || kind == 'n' {
		return c.skip()
	}
	if !field.list && !field.odd {
		_, err := c.value(field)
		return err
	}
	if !field.list || kind != '[' {
		c.add(wrongType, "The value must be a list.")
		return c.skip()
	}
	if _, err := c.dec.ReadToken(); err != nil {
		return errMalformed
	}
	for i := 0; c.dec.PeekKind() != ']'; i++ {
		c.at = append(c.at, strconv.Itoa(i))
		added, err := c.value(field)
		if err != nil {
			return err
		}
		if !added {
			c.wire = append(c.wire, field.empty...) // the others keep their places
		}
		c.elements++
		c.at = c.at[:len(c.at)-1]
	}
	if _, err := c.dec.ReadToken(); err != nil {
		return errMalformed
	}
	return nil
}

// value checks a value that is no list, and adds it unless it is wrong or a number: of that only the decoder behind checks the range.
func (c *checker) value(field *shapeField) (added bool, err error) {
	kind := c.dec.PeekKind()
	want, detail := jsontext.Kind('0'), "The value must be a number."
	switch field.kind {
	case protoreflect.MessageKind:
		want, detail = '{', "The value must be an object."
	case protoreflect.StringKind:
		want, detail = '"', "The value must be a string."
	case protoreflect.BoolKind:
		want, detail = 't', "The value must be true or false."
		if kind == 'f' {
			kind = 't'
		}
	}
	switch {
	case kind != want:
		c.add(wrongType, detail)
	case kind == '{':
		c.partly = c.partly || field.foreign
		c.wire = append(c.wire, field.tag...)
		begin := len(c.wire)
		if err := c.object(field.message); err != nil {
			return false, err
		}
		size := protowire.AppendVarint(nil, uint64(len(c.wire)-begin))
		c.wire = slices.Insert(c.wire, begin, size...)
		return true, nil
	case kind == '"':
		text, err := c.text()
		if err != nil {
			return false, err
		}
		if bytes.IndexByte(text, 0) >= 0 {
			c.add(badCharacter, "The text must not hold the character NUL.")
		}
		if field.required && len(c.at) == 1 && len(bytes.TrimSpace(text)) > 0 {
			c.filled = append(c.filled, field.desc)
		}
		c.wire = protowire.AppendBytes(append(c.wire, field.tag...), text)
		return true, nil
	case kind == 't':
		token, err := c.dec.ReadToken()
		if err != nil {
			return false, errMalformed
		}
		c.wire = protowire.AppendVarint(append(c.wire, field.tag...), protowire.EncodeBool(token.Bool()))
		return true, nil
	default:
		c.partly = true
	}
	return false, c.skip()
}

// skip reads over a value.
func (c *checker) skip() error {
	if c.dec.SkipValue() != nil {
		return errMalformed
	}
	return nil
}

// escape writes a name as a token of a JSON pointer (RFC 6901).
func escape(name string) string {
	if strings.ContainsAny(name, "~/") {
		name = strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
	}
	return name
}
