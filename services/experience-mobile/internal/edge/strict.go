package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

// Codes of single violations.
const (
	unknownField     = "UNKNOWN_FIELD"
	duplicateField   = "DUPLICATE_FIELD"
	readOnly         = "READ_ONLY"
	wrongType        = "WRONG_TYPE"
	badCharacter     = "INVALID_CHARACTER"
	unknownParameter = "UNKNOWN_PARAMETER"
	repeated         = "REPEATED_PARAMETER"
)

const maxViolations = 50

// checkQuery refuses parameters that the route does not have and values of the wrong type.
func (e *edge) checkQuery(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		values, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			e.refuse(w, r, e.problems.New(problem.ValidationFailed, "The query string is not well-formed."))
			return
		}
		c := callOf(r.Context())
		fields, found := selectFields(c.route, values)
		values.Del(fieldsParameter)
		if found = append(found, queryViolations(c.route, values)...); len(found) > 0 {
			e.refuse(w, r, e.invalid(found))
			return
		}
		c.fields = fields
		r = r.WithContext(r.Context())
		clean := *r.URL
		clean.RawQuery = values.Encode()
		r.URL = &clean
		next.ServeHTTP(w, r)
	})
}

func queryViolations(rt *route, values url.Values) []problem.Violation {
	var found []problem.Violation
	for name, v := range values {
		add := func(code, detail string) {
			found = append(found, problem.Violation{Parameter: printable(name), Code: code, Detail: detail})
		}
		field, known := rt.query[name]
		switch {
		case !known:
			add(unknownParameter, "This route has no such parameter.")
		case len(v) > 1:
			add(repeated, "The parameter may be given once.")
		case !utf8.ValidString(v[0]) || strings.ContainsRune(v[0], 0):
			add(badCharacter, "The value must be UTF-8 text without NUL.")
		case field.Kind() == protoreflect.BoolKind && v[0] != "true" && v[0] != "false":
			add(wrongType, "The value must be true or false.")
		case field.Kind() == protoreflect.Int32Kind:
			if _, err := strconv.ParseInt(v[0], 10, 32); err != nil {
				add(wrongType, "The value must be a whole number of 32 bits.")
			}
		}
	}
	return found
}

// printable bounds what is echoed of a name that a stranger made up.
func printable(name string) string {
	name = strings.ToValidUTF8(name, "?")
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "")
	}
	return name
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
		found, err := jsonViolations(c.body, c.route.body)
		switch {
		case err != nil:
			e.refuse(w, r, e.problems.New(problem.MalformedJSON, ""))
		case len(found) > 0:
			e.refuse(w, r, e.invalid(found))
		default:
			c.missing = missing(c.body, c.route, r.Method == http.MethodPatch)
			next.ServeHTTP(w, r)
		}
	})
}

// missing returns the required fields that a body leaves blank; a PATCH need not name them, but must not clear them.
// Package rpc refuses them too. Here they are only noted, so that a request that also breaks a validation rule
// learns of everything at once.
func missing(body []byte, rt *route, patch bool) []fault.Field {
	var given map[string]any
	if json.Unmarshal(body, &given) != nil {
		return nil
	}
	var out []fault.Field
	for i := range rt.body.Fields().Len() {
		f := rt.body.Fields().Get(i)
		v, present := given[f.JSONName()]
		text, isText := v.(string)
		blank := v == nil || (isText && strings.TrimSpace(text) == "")
		if behaves(f, annotations.FieldBehavior_REQUIRED) && blank && (present || !patch) {
			out = append(out, fault.Field{
				Path: rt.bodyField + "." + string(f.Name()), Reason: "REQUIRED", Description: "the field must not be blank",
			})
		}
	}
	return out
}

func (e *edge) invalid(found []problem.Violation) problem.Problem {
	detail := "The request breaks a rule, see errors."
	if v := found[0]; v.Parameter != "" {
		detail = "The parameter " + strconv.Quote(v.Parameter) + " is not valid: " + v.Detail
	} else if v.Pointer != nil {
		detail = "The body is not valid at " + strconv.Quote(*v.Pointer) + ": " + v.Detail
	}
	return e.problems.New(problem.ValidationFailed, detail, found...)
}

var errMalformed = errors.New("malformed json")

type checker struct {
	dec   *json.Decoder
	found []problem.Violation
}

// jsonViolations compares a body with a message. It fails only if the body is not one JSON value.
func jsonViolations(body []byte, message protoreflect.MessageDescriptor) ([]problem.Violation, error) {
	if !utf8.Valid(body) || halfPair(body) {
		return nil, errMalformed
	}
	c := &checker{dec: json.NewDecoder(bytes.NewReader(body))}
	c.dec.UseNumber()
	first, err := c.dec.Token()
	if err != nil {
		return nil, errMalformed
	}
	if first != json.Delim('{') {
		c.add("", wrongType, "The body must be an object.")
		err = c.skip(first)
	} else {
		err = c.object("", message)
	}
	if err != nil {
		return nil, err
	}
	if _, err := c.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errMalformed
	}
	return c.found, nil
}

// halfPair reports whether a text escapes half of a character that needs two escapes (RFC 8259 section 8.2): there is no
// such text, and every reader makes something else of it.
func halfPair(body []byte) bool {
	escaped := func(i int) (rune, bool) {
		if i+6 > len(body) || body[i] != '\\' || body[i+1] != 'u' {
			return 0, false
		}
		n, err := strconv.ParseUint(string(body[i+2:i+6]), 16, 16)
		return rune(n), err == nil
	}
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		first, ok := escaped(i)
		switch {
		case !ok:
			i++ // \" or \\ or no JSON
		case utf16.IsSurrogate(first):
			second, ok := escaped(i + 6)
			if !ok || utf16.DecodeRune(first, second) == utf8.RuneError {
				return true
			}
			i += 11
		default:
			i += 5
		}
	}
	return false
}

func (c *checker) add(pointer, code, detail string) {
	if len(c.found) < maxViolations {
		c.found = append(c.found, problem.At(pointer, code, detail))
	}
}

// object checks the members after an opening brace, up to and including the closing one.
func (c *checker) object(pointer string, message protoreflect.MessageDescriptor) error {
	seen := map[string]bool{}
	for {
		token, err := c.dec.Token()
		if err != nil {
			return errMalformed
		}
		if token == json.Delim('}') {
			return nil
		}
		name, ok := token.(string)
		if !ok {
			return errMalformed
		}
		at := pointer + "/" + escape(printable(name))
		field := message.Fields().ByJSONName(name)
		switch {
		case seen[name]:
			c.add(at, duplicateField, "The field is given twice.")
			field = nil
		case field == nil:
			c.add(at, unknownField, "There is no such field.")
		case behaves(field, annotations.FieldBehavior_OUTPUT_ONLY):
			c.add(at, readOnly, "The field is set by the service; it must not be sent.")
			field = nil
		}
		seen[name] = true
		if err := c.member(at, field); err != nil {
			return err
		}
	}
}

// member checks one value; a nil field only reads over it.
func (c *checker) member(at string, field protoreflect.FieldDescriptor) error {
	token, err := c.dec.Token()
	if err != nil {
		return errMalformed
	}
	if field == nil || token == nil {
		return c.skip(token)
	}
	if field.IsList() && token == json.Delim('[') {
		for i := 0; c.dec.More(); i++ {
			next, err := c.dec.Token()
			if err != nil {
				return errMalformed
			}
			if err := c.value(at+"/"+strconv.Itoa(i), field, next); err != nil {
				return err
			}
		}
		return c.close()
	}
	if field.IsList() || field.IsMap() {
		c.add(at, wrongType, "The value must be a list.")
		return c.skip(token)
	}
	return c.value(at, field, token)
}

func (c *checker) value(at string, field protoreflect.FieldDescriptor, token json.Token) error {
	switch field.Kind() {
	case protoreflect.MessageKind:
		if token == json.Delim('{') {
			return c.object(at, field.Message())
		}
		c.add(at, wrongType, "The value must be an object.")
	case protoreflect.StringKind:
		text, ok := token.(string)
		if ok && strings.ContainsRune(text, 0) {
			c.add(at, badCharacter, "The text must not hold the character NUL.")
		} else if !ok {
			c.add(at, wrongType, "The value must be a string.")
		}
	case protoreflect.BoolKind:
		if _, ok := token.(bool); !ok {
			c.add(at, wrongType, "The value must be true or false.")
		}
	default: // numbers; the decoder checks their range
		if _, ok := token.(json.Number); !ok {
			c.add(at, wrongType, "The value must be a number.")
		}
	}
	return c.skip(token)
}

// skip reads to the end of the value that begins with token.
func (c *checker) skip(token json.Token) error {
	depth := 0
	for {
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth <= 0 {
			return nil
		}
		var err error
		if token, err = c.dec.Token(); err != nil {
			return errMalformed
		}
	}
}

func (c *checker) close() error {
	if _, err := c.dec.Token(); err != nil {
		return errMalformed
	}
	return nil
}

// escape writes a name as a token of a JSON pointer (RFC 6901).
func escape(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

func behaves(field protoreflect.FieldDescriptor, as annotations.FieldBehavior) bool {
	behaviors, ok := proto.GetExtension(field.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return ok && slices.Contains(behaviors, as)
}
