package edge

import (
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	optionsv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/options/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/auth"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

// route is one method of one path.
type route struct {
	verb     string
	template string   // as in the contract: label of metrics and spans
	segments []string // "" is a variable
	scope    string
	needsKey bool
	writes   bool
	// budget is the time a request may take; of documents and streams none.
	budget time.Duration
	// query are the parameters by the name a client sends.
	query map[string]protoreflect.FieldDescriptor
	// params are the names of path variables, by field.
	params map[string]bool
	// bodyField is the field of the request that the body fills; "" without a body.
	bodyField string
	body      *bodyRules
	// answer is what a success carries; nil when that is no message.
	answer protoreflect.MessageDescriptor
	// deprecated is set for a route that will go.
	deprecated *deprecation
	// tagged says that a change may be based on a state (If-Match).
	tagged bool
	// stream is true for the route that answers with events.
	stream bool
	page   http.Handler
}

// name is how the description names the route.
func (r *route) name() string { return r.verb + " " + r.template }

// Routes returns the names of the routes that can have a budget of their own: all of the contract, as "POST /v1/orders".
func Routes() ([]string, error) {
	routes, err := contractRoutes()
	if err != nil {
		return nil, err
	}
	names := make([]string, len(routes))
	for i, r := range routes {
		names[i] = r.name()
	}
	slices.Sort(names)
	return names, nil
}

// contractRoutes reads the routes of MobileService from its descriptor.
func contractRoutes() ([]*route, error) {
	service := mobilev1.File_selfsame_mobile_v1_mobile_service_proto.Services().ByName("MobileService")
	var routes []*route
	for i := range service.Methods().Len() {
		m := service.Methods().Get(i)
		r, err := contractRoute(m)
		if err != nil {
			return nil, fmt.Errorf("edge: route of %s: %w", m.Name(), err)
		}
		routes = append(routes, r)
	}
	return routes, nil
}

func contractRoute(m protoreflect.MethodDescriptor) (*route, error) {
	options, ok := m.Options().(*descriptorpb.MethodOptions)
	if !ok {
		return nil, fmt.Errorf("options are a %T", m.Options())
	}
	rule, ok := proto.GetExtension(options, annotations.E_Http).(*annotations.HttpRule)
	if !ok || rule == nil {
		return nil, fmt.Errorf("no google.api.http option")
	}
	r := &route{scope: auth.ScopeWrite, writes: true, query: map[string]protoreflect.FieldDescriptor{}, params: map[string]bool{}}
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		r.verb, r.template = http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		r.verb, r.template = http.MethodPost, p.Post
	case *annotations.HttpRule_Patch:
		r.verb, r.template = http.MethodPatch, p.Patch
	default:
		return nil, fmt.Errorf("verb %T is not served", p)
	}
	if options.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS {
		r.scope, r.writes = auth.ScopeRead, false
	}
	if policy, ok := proto.GetExtension(options, optionsv1.E_Idempotency).(*optionsv1.IdempotencyPolicy); ok {
		r.needsKey = policy.GetKey() == optionsv1.KeyRequirement_KEY_REQUIREMENT_REQUIRED
	}
	r.answer = m.Output()
	if part := rule.GetResponseBody(); part != "" {
		r.answer = m.Output().Fields().ByName(protoreflect.Name(part)).Message()
	}
	r.tagged = r.verb == http.MethodPatch
	if d, ok := proto.GetExtension(options, optionsv1.E_Deprecation).(*optionsv1.Deprecation); ok && d.GetSince() != nil {
		r.deprecated = &deprecation{since: d.GetSince().AsTime(), sunset: d.GetSunset().AsTime(), successor: d.GetSuccessor()}
	}
	return r, r.fields(m.Input().Fields(), rule.GetBody())
}

// fields sorts the fields of the request into path, body and query. Only scalar fields are query parameters: an
// update mask, for one, is what the body says.
func (r *route) fields(fields protoreflect.FieldDescriptors, body string) error {
	for _, s := range strings.Split(strings.TrimPrefix(r.template, "/"), "/") {
		if name, ok := strings.CutPrefix(s, "{"); ok {
			r.params[strings.TrimSuffix(name, "}")] = true
			s = ""
		}
		r.segments = append(r.segments, s)
	}
	for i := range fields.Len() {
		f := fields.Get(i)
		name := string(f.Name())
		switch {
		case r.params[name]:
		case name == body:
			if f.Message() == nil || f.IsList() || f.IsMap() {
				return fmt.Errorf("body field %s is not a message", name)
			}
			r.bodyField, r.body = name, newBodyRules(f.Message())
		case f.Message() == nil && !f.IsList():
			r.query[f.JSONName()] = f
		}
	}
	if body != "" && r.body == nil {
		return fmt.Errorf("there is no body field %s", body)
	}
	return nil
}

func (e *edge) addPages(pages map[string]http.Handler, compress step) {
	for path, h := range pages {
		e.routes = append(e.routes, &route{
			verb: http.MethodGet, template: path, segments: strings.Split(strings.TrimPrefix(path, "/"), "/"), page: compress(h),
		})
	}
}

// matches reports whether the escaped path belongs to the route's template.
func (r *route) matches(parts []string) bool {
	if len(parts) != len(r.segments) {
		return false
	}
	for i, s := range r.segments {
		if s == "" && r.page == nil {
			if parts[i] == "" {
				return false
			}
		} else if s != parts[i] {
			return false
		}
	}
	return true
}

// classify finds the route. It answers nothing, so that a request for nothing is still counted and logged.
func (e *edge) classify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callOf(r.Context())
		parts := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
		verb := r.Method
		if verb == http.MethodHead {
			verb = http.MethodGet
		}
		for _, candidate := range e.routes {
			if !candidate.matches(parts) {
				continue
			}
			c.allowed = append(c.allowed, candidate.verb)
			if candidate.verb == verb {
				c.route = candidate
			}
		}
		next.ServeHTTP(w, r)
	})
}

// refuseUnknown ends what no route wants.
func (e *edge) refuseUnknown(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callOf(r.Context())
		switch {
		case !utf8.ValidString(r.URL.Path) || strings.ContainsFunc(r.URL.Path, control):
			e.refuse(w, r, e.problems.New(problem.PathInvalid, ""))
		case len(c.allowed) == 0:
			e.refuse(w, r, e.problems.New(problem.RouteNotFound, ""))
		case r.Method == http.MethodOptions:
			w.Header().Set("Allow", allow(c.allowed))
			w.WriteHeader(http.StatusNoContent)
		case c.route == nil:
			w.Header().Set("Allow", allow(c.allowed))
			e.refuse(w, r, e.problems.New(problem.MethodNotAllowed, ""))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

func allow(verbs []string) string {
	all := append([]string{http.MethodOptions}, verbs...)
	if slices.Contains(verbs, http.MethodGet) {
		all = append(all, http.MethodHead)
	}
	sort.Strings(all)
	return strings.Join(slices.Compact(all), ", ")
}

// page serves public documents; they need no token.
func (e *edge) page(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := callOf(r.Context()).route.page; p != nil {
			e.checkQuery(p).ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
