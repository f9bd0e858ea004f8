package edge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/selfsame-io/selfsame/pkg/fault"
	mobilev1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/mobile/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/auth"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

// Metadata between the edge and package rpc, which believes it only on the connection inside the process.
const (
	MetaPrincipal = "selfsame-principal"
	MetaKey       = "idempotency-key"
	MetaIfMatch   = "if-match"
	MetaRequestID = "x-request-id"
	// MetaCustomers is set for a caller who sees only some customers: their ids with commas.
	MetaCustomers = "selfsame-customers"
	// MetaCreated comes back: "true" when the call made something new.
	MetaCreated = "selfsame-created"
	// MetaLocation comes back: the path of what the call made.
	MetaLocation = "selfsame-location"
	// MetaMerge is "true" when the mask names the members of a merge patch (RFC 7396).
	MetaMerge = "selfsame-merge"
	// MetaAsync is "true" when the caller takes an answer that says "later".
	MetaAsync = "selfsame-async"
	// MetaAccepted comes back: "true" when something will be made later; MetaLocation says where to ask.
	MetaAccepted = "selfsame-accepted"
	// MetaRetry comes back: in how many seconds it is worth asking again.
	MetaRetry = "selfsame-retry"
	// MetaStatus comes back: executed or replayed, as a header on success and a trailer on failure.
	MetaStatus = "idempotency-status"
)

// gateway returns the generated translation between JSON and the contract, with every door that it opens by itself
// closed: no header passes in either direction, no method is overridden, no POST becomes a GET.
func (e *edge) gateway(conn grpc.ClientConnInterface) (http.Handler, error) {
	none := func(string) (string, bool) { return "", false }
	mux := runtime.NewServeMux(
		runtime.WithIncomingHeaderMatcher(none), runtime.WithOutgoingHeaderMatcher(none), runtime.WithOutgoingTrailerMatcher(none),
		runtime.WithDisableHTTPMethodOverride(), runtime.WithDisablePathLengthFallback(),
		runtime.WithUnescapingMode(runtime.UnescapingModeAllExceptReserved),
		runtime.WithMetadata(metadataOf),
		runtime.WithForwardResponseOption(e.decorate),
		runtime.WithErrorHandler(e.fail),
		runtime.WithRoutingErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, _ int) {
			e.refuse(w, r, e.problems.New(problem.RouteNotFound, ""))
		}),
		runtime.WithMarshalerOption(runtime.MIMEWildcard, newCodec()),
	)
	if err := mobilev1.RegisterMobileServiceHandlerClient(context.Background(), mux, mobilev1.NewMobileServiceClient(conn)); err != nil {
		return nil, fmt.Errorf("edge: register routes: %w", err)
	}
	return mux, nil
}

// metadataOf is all that goes down.
func metadataOf(ctx context.Context, _ *http.Request) metadata.MD {
	c := callOf(ctx)
	md := metadata.Pairs(MetaPrincipal, c.principal.Subject, MetaRequestID, c.id)
	if c.key != "" {
		md.Set(MetaKey, c.key)
	}
	if c.ifMatch != "" {
		md.Set(MetaIfMatch, c.ifMatch)
	}
	if c.route != nil && c.route.verb == http.MethodPatch {
		md.Set(MetaMerge, "true")
	}
	if c.async {
		md.Set(MetaAsync, "true")
	}
	if c.principal.Restricted {
		md.Set(MetaCustomers, strings.Join(c.principal.Customers, ","))
	}
	return md
}

// owned tells apart what callers see.
func owned(p auth.Principal) string {
	if !p.Restricted {
		return "*"
	}
	return strings.Join(p.Customers, ",")
}

// decorate gives a success its headers and status.
func (e *edge) decorate(ctx context.Context, w http.ResponseWriter, msg proto.Message) error {
	c, h := callOf(ctx), w.Header()
	h["Cache-Control"] = privateNoStore
	noteStatus(ctx, c, h, "")
	if holder, ok := msg.(interface{ GetCustomer() *mobilev1.Customer }); ok {
		if tag := holder.GetCustomer().GetEtag(); tag != "" {
			c.lines.set(h, "Etag", `"`+tag+`"`)
		}
	} else if !c.route.writes {
		if tag := tagOf(msg); tag != "" {
			c.lines.set(h, "Etag", `"`+tag+`"`)
		}
	}
	if _, many := msg.(*mobilev1.ApplyMutationsResponse); many {
		w.WriteHeader(http.StatusMultiStatus)
	}
	md, _ := runtime.ServerMetadataFromContext(ctx)
	if wait := first(md.HeaderMD, MetaRetry); wait != "" {
		h.Set("Retry-After", wait)
	}
	if first(md.HeaderMD, MetaAccepted) == "true" {
		h.Set("Location", first(md.HeaderMD, MetaLocation))
		h.Set("Preference-Applied", respondAsync)
		w.WriteHeader(http.StatusAccepted)
	}
	if first(md.HeaderMD, MetaCreated) == "true" {
		c.lines.set(h, "Location", first(md.HeaderMD, MetaLocation))
		w.WriteHeader(http.StatusCreated)
	}
	return nil
}

// noteStatus says what became of the key.
func noteStatus(ctx context.Context, c *call, h http.Header, code string) {
	if c.keyLine != "" {
		c.lines.set(h, "Idempotency-Key", c.keyLine)
	}
	md, _ := runtime.ServerMetadataFromContext(ctx)
	status := first(md.HeaderMD, MetaStatus)
	if status == "" {
		status = first(md.TrailerMD, MetaStatus)
	}
	switch {
	case code == problem.IdempotencyInProgress:
		status = "in-progress"
	case status == "":
		status = c.keyNote
	}
	if status != "" {
		c.lines.set(h, "Idempotency-Status", status)
	}
	if status == "replayed" {
		h["Idempotent-Replayed"] = isTrue
	}
}

func first(md metadata.MD, key string) string {
	if v := md.Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// fail answers a failed call.
func (e *edge) fail(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	if _, malformed := errors.AsType[*runtime.HTTPStatusError](err); malformed {
		e.refuse(w, r, e.problems.New(problem.PathInvalid, ""))
		return
	}
	c := callOf(ctx)
	p := e.problems.FromError(withMissing(err, c.missing), c.route.where)
	p.Errors = p.Errors[:min(len(p.Errors), maxViolations)]
	h := w.Header()
	noteStatus(ctx, c, h, p.Code)
	if tag := p.Meta["etag"]; p.Code == fault.ReasonETagMismatch && tag != "" {
		h.Set("ETag", `"`+tag+`"`)
	}
	if p.Code == problem.SyncTokenExpired {
		h.Add("Link", `</v1/sync/customers>; rel="restart"`)
	}
	if resource := p.Meta["resource"]; strings.HasPrefix(resource, "customers/") {
		p.Instance = "/v1/" + resource
	}
	e.refuse(w, r, p)
}

// withMissing adds the required fields that the body leaves blank to the rules that it breaks.
func withMissing(err error, missing []fault.Field) error {
	e, ok := fault.As(err)
	if !ok || e.Kind != fault.Invalid || fault.ReasonOf(err) != fault.ReasonValidationFailed || len(missing) == 0 {
		return err
	}
	all := *e
	for _, m := range missing {
		same := func(f fault.Field) bool { return f.Path == m.Path }
		if !slices.ContainsFunc(e.Fields, same) {
			all.Fields = append(slices.Clone(all.Fields), m)
		}
	}
	return &all
}

// where places a violated rule: in the body, in the query or in the path.
func (r *route) where(f fault.Field) problem.Violation {
	v := problem.Violation{Code: ViolationCode(f.Reason), Detail: f.Description}
	head, rest, _ := strings.Cut(f.Path, ".")
	switch {
	case r != nil && r.bodyField != "" && head == r.bodyField:
		pointer := Pointer(rest)
		v.Pointer = &pointer
	case r != nil && r.params[head]:
		v.Parameter = head
	default:
		v.Parameter = camel(head)
	}
	return v
}

// Pointer turns "address.postal_code" into "/address/postalCode" and "items[2].sku" into "/items/2/sku".
func Pointer(path string) string {
	if path == "" {
		return ""
	}
	var b strings.Builder
	for _, part := range strings.Split(path, ".") {
		name, index, _ := strings.Cut(strings.TrimSuffix(part, "]"), "[")
		b.WriteString("/" + escape(camel(name)))
		if index != "" {
			b.WriteString("/" + escape(strings.Trim(index, `"`)))
		}
	}
	return b.String()
}

func camel(name string) string {
	parts := strings.Split(name, "_")
	for i := 1; i < len(parts); i++ {
		if parts[i] != "" {
			parts[i] = strings.ToUpper(parts[i][:1]) + parts[i][1:]
		}
	}
	return strings.Join(parts, "")
}

// ViolationCode turns the id of a validation rule into a code: "string.max_len" into STRING_MAX_LEN.
func ViolationCode(reason string) string {
	if reason == "" {
		return "INVALID"
	}
	return strings.ToUpper(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, reason))
}
