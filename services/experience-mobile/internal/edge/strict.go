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
	kind     protoreflect.MessageType
	readOnly map[protoreflect.FieldDescriptor]bool
	// required are the fields of the body itself that must have a value.
	required []protoreflect.FieldDescriptor
}

func newBodyRules(message protoreflect.MessageDescriptor) *bodyRules {
	r := &bodyRules{message: message, kind: dynamicpb.NewMessageType(message), readOnly: map[protoreflect.FieldDescriptor]bool{}}
	if generated, err := protoregistry.GlobalTypes.FindMessageByName(message.FullName()); err == nil {
		r.kind = generated
	}
	seen := map[protoreflect.MessageDescriptor]bool{}
	var walk func(m protoreflect.MessageDescriptor)
	walk = func(m protoreflect.MessageDescriptor) {
		if seen[m] {
			return
		}
		seen[m] = true
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			if behaves(f, annotations.FieldBehavior_OUTPUT_ONLY) {
				r.readOnly[f] = true
			}
			if m == message && behaves(f, annotations.FieldBehavior_REQUIRED) {
				r.required = append(r.required, f)
			}
			if f.Message() != nil {
				walk(f.Message())
			}
		}
	}
	walk(message)
	return r
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
	// given are the fields of the body itself that were there, filled those that hold something.
	given, filled []protoreflect.FieldDescriptor
	// made is the message that the body stands for, without what is wrong.
	made protoreflect.Message
	// partly is true if something that is not wrong is not in it, or in another form.
	partly bool
	// elements are those of all lists.
	elements int
}

// checkBody compares a body with the contract. It fails only if the body is not one JSON value.
func checkBody(body []byte, rules *bodyRules) (*checker, error) {
	c := &checker{dec: jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true)), rules: rules, made: rules.kind.New()}
	if c.dec.PeekKind() != '{' {
		if err := c.skip(); err != nil {
			return nil, err
		}
		c.add(wrongType, "The body must be an object.")
	} else {
		c.members = true
		if err := c.object(c.made); err != nil {
			return nil, err
		}
	}
	if _, err := c.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errMalformed
	}
	return c, nil
}

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

// object checks an object, braces included, and sets what it holds.
func (c *checker) object(made protoreflect.Message) error {
	if _, err := c.dec.ReadToken(); err != nil {
		return errMalformed
	}
	var room [16]protoreflect.FieldDescriptor // for most messages
	seen, message := room[:0], made.Descriptor()
	for {
		token, err := c.dec.ReadToken()
		if err != nil {
			return errMalformed
		}
		if token.Kind() == '}' {
			return nil
		}
		name := token.String()
		field := message.Fields().ByJSONName(name)
		c.at = append(c.at, name)
		switch {
		case field == nil:
			c.add(unknownField, "There is no such field.")
		case slices.Contains(seen, field):
			c.add(duplicateField, "The field is given twice.")
			field = nil
		case c.rules.readOnly[field]:
			c.add(readOnly, "The field is set by the service; it must not be sent.")
			field = nil
		}
		if field != nil {
			seen = append(seen, field)
		}
		if err := c.member(made, field); err != nil {
			return err
		}
		c.at = c.at[:len(c.at)-1]
	}
}

// member checks one value and sets it; a nil field only reads over it.
func (c *checker) member(made protoreflect.Message, field protoreflect.FieldDescriptor) error {
	kind := c.dec.PeekKind()
	if field != nil && len(c.at) == 1 {
		c.given = append(c.given, field)
		if kind != 'n' && kind != '"' {
			c.filled = append(c.filled, field)
		}
	}
	if field == nil || kind == 'n' {
		return c.skip()
	}
	if !field.IsList() && !field.IsMap() {
		v, err := c.value(field, made.NewField)
		if v.IsValid() {
			made.Set(field, v)
		}
		return err
	}
	if !field.IsList() || kind != '[' {
		c.add(wrongType, "The value must be a list.")
		return c.skip()
	}
	if _, err := c.dec.ReadToken(); err != nil {
		return errMalformed
	}
	list := made.Mutable(field).List()
	for i := 0; c.dec.PeekKind() != ']'; i++ {
		c.at = append(c.at, strconv.Itoa(i))
		v, err := c.value(field, func(protoreflect.FieldDescriptor) protoreflect.Value { return list.NewElement() })
		if err != nil {
			return err
		}
		if !v.IsValid() {
			v = list.NewElement() // the others keep their places
		}
		list.Append(v)
		c.elements++
		c.at = c.at[:len(c.at)-1]
	}
	if _, err := c.dec.ReadToken(); err != nil {
		return errMalformed
	}
	return nil
}

// value checks a value that is no list, and returns it unless it is wrong or a number: of that only the decoder behind checks the range.
func (c *checker) value(field protoreflect.FieldDescriptor, empty func(protoreflect.FieldDescriptor) protoreflect.Value) (none protoreflect.Value, err error) {
	kind := c.dec.PeekKind()
	want, detail := jsontext.Kind('0'), "The value must be a number."
	switch field.Kind() {
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
		v := empty(field)
		c.partly = c.partly || field.Message().ParentFile().Package() == "google.protobuf" // they have a form of their own
		return v, c.object(v.Message())
	case kind == '"':
		token, err := c.dec.ReadToken()
		if err != nil {
			return none, errMalformed
		}
		text := token.String()
		if strings.IndexByte(text, 0) >= 0 {
			c.add(badCharacter, "The text must not hold the character NUL.")
		}
		if len(c.at) == 1 && strings.TrimSpace(text) != "" {
			c.filled = append(c.filled, field)
		}
		return protoreflect.ValueOfString(text), nil
	case kind == 't':
		token, err := c.dec.ReadToken()
		if err != nil {
			return none, errMalformed
		}
		return protoreflect.ValueOfBool(token.Bool()), nil
	default:
		c.partly = true
	}
	return none, c.skip()
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
