package edge

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

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
		c := callOf(r.Context())
		if r.URL.RawQuery == "" {
			next.ServeHTTP(w, r)
			return
		}
		values, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			e.refuse(w, r, e.problems.New(problem.ValidationFailed, "The query string is not well-formed."))
			return
		}
		fields, found := selectFields(c.route, values)
		values.Del(fieldsParameter)
		if found = append(found, queryViolations(c.route, values)...); len(found) > 0 {
			e.refuse(w, r, e.invalid(found))
			return
		}
		c.fields = fields
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

func (e *edge) invalid(found []problem.Violation) problem.Problem {
	detail := "The request breaks a rule, see errors."
	if v := found[0]; v.Parameter != "" {
		detail = "The parameter " + strconv.Quote(v.Parameter) + " is not valid: " + v.Detail
	} else if v.Pointer != nil {
		detail = "The body is not valid at " + strconv.Quote(*v.Pointer) + ": " + v.Detail
	}
	return e.problems.New(problem.ValidationFailed, detail, found...)
}
