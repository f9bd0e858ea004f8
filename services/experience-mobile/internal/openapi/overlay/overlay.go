// Package overlay adds to the generated OpenAPI description what the contract cannot say.
//
// It does not change what the generator says about messages, with these exceptions: the package prefix leaves the
// names, a parameter that the edge does not take is dropped, numbers of 64 bits stay the strings they are, what is sent
// and what is answered are told apart where one message is both, and the rules of the contract are said (schemas.go).
package overlay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"

	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/auth"
	"github.com/selfsame-io/selfsame/services/experience-mobile/internal/problem"
)

type object = map[string]any

const (
	// keyPattern is what the edge takes as Idempotency-Key: bare, or a string of RFC 9651 whose parameters are ignored.
	keyPattern = `^([A-Za-z0-9._~:+/=-]{16,255}|"([!#-\[\]-~]|\\["\\]){16,255}"( *;.*)?)$`

	// fieldsName is the parameter that the edge takes beside those of the contract.
	fieldsName = "fields"

	prefix  = "selfsame.mobile.v1."
	refBase = "#/components/schemas/"
)

// Build returns the published description for a generated one. It fails if the generated one is not of the shape
// that it expects.
func Build(raw []byte) ([]byte, error) {
	raw = bytes.ReplaceAll(raw, []byte(refBase+prefix), []byte(refBase))
	var doc object
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("read description: %w", err)
	}
	schemas, err := dig(doc, "components", "schemas")
	if err != nil {
		return nil, err
	}
	for name, s := range schemas {
		if short, ok := strings.CutPrefix(name, prefix); ok {
			schemas[short] = s
			delete(schemas, name)
		}
	}
	delete(schemas, "google.rpc.Status")
	if err := shapeMessages(schemas); err != nil {
		return nil, err
	}
	schemas["Problem"], schemas["Violation"], schemas["Meta"] = problemSchema(), violationSchema(), metaSchema()
	doc["info"], doc["servers"], doc["tags"] = info(), []any{object{"url": "/"}}, tags()
	doc["security"] = []any{object{"oidc": []any{}}}
	components, err := dig(doc, "components")
	if err != nil {
		return nil, err
	}
	components["securitySchemes"] = object{"oidc": object{
		"type": "http", "scheme": "bearer", "bearerFormat": "JWT",
		"description": "A token of the configured OpenID Connect issuer. Reading needs the scope `" + auth.ScopeRead + "`, writing `" + auth.ScopeWrite + "`.",
	}}
	components["responses"], components["headers"], components["parameters"] = problemResponses(), headers(), parameters()
	if err := eachOperation(doc, decorate); err != nil {
		return nil, err
	}
	paths, err := dig(doc, "paths")
	if err != nil {
		return nil, err
	}
	for path, item := range byHand() {
		paths[path] = item
	}
	return render(doc)
}

func dig(o object, path ...string) (object, error) {
	for _, p := range path {
		next, ok := o[p].(object)
		if !ok {
			return nil, fmt.Errorf("description has no %s", strings.Join(path, "."))
		}
		o = next
	}
	return o, nil
}

func eachOperation(doc object, do func(verb string, op object) error) error {
	paths, err := dig(doc, "paths")
	if err != nil {
		return err
	}
	for path := range paths {
		item, err := dig(paths, path)
		if err != nil {
			return err
		}
		for verb := range item {
			op, err := dig(item, verb)
			if err != nil {
				return err
			}
			if err := do(verb, op); err != nil {
				return fmt.Errorf("%s %s: %w", verb, path, err)
			}
		}
	}
	return nil
}

// shape is what an operation answers beside what the generator knows.
type shape struct {
	tag string
	// made is true when a success is 201, known when it may be 200 as well, many when it is 207.
	made, known, many bool
	// later is true when the answer may be 202.
	later bool
	// tagged is true when a write answers with the entity tag of a customer.
	tagged bool
	// keyed is true when the header Idempotency-Key is needed.
	keyed bool
	// body is the schema of what is sent, if it is another than the generator knows.
	body string
	// more are further statuses.
	more []int
}

func shapes() map[string]shape {
	return map[string]shape{
		"GetCustomer": {tag: "Customers"}, "ListCustomers": {tag: "Customers"}, "ListContacts": {tag: "Customers"},
		"CreateCustomer": {tag: "Customers", made: true, known: true, tagged: true, keyed: true, body: "NewCustomer"},
		"UpdateCustomer": {tag: "Customers", known: true, tagged: true, keyed: true, body: "CustomerUpdate", more: []int{http.StatusPreconditionRequired}},
		"ListOrders":     {tag: "Orders"}, "GetOrder": {tag: "Orders"}, "FindOrder": {tag: "Orders"},
		"PlaceOrder":   {tag: "Orders", made: true, known: true, keyed: true, later: true},
		"GetOperation": {tag: "Orders"},
		"CancelOrder":  {tag: "Orders", known: true, keyed: true},
		"ListCases":    {tag: "Cases"}, "GetCase": {tag: "Cases"}, "OpenCase": {tag: "Cases", made: true, known: true, keyed: true},
		"GetAvailability": {tag: "Products"},
		"SyncCustomers":   {tag: "Sync", more: []int{http.StatusGone}},
		"ApplyMutations":  {tag: "Sync", many: true},
	}
}

// decorate adds to one operation its security, parameters, responses and headers.
func decorate(verb string, op object) error {
	id, _ := op["operationId"].(string)
	id = strings.TrimPrefix(id, "MobileService_")
	is, described := shapes()[id]
	if !described {
		return fmt.Errorf("operation %s is not described", id)
	}
	op["operationId"], op["tags"] = id, []any{is.tag}
	write, scope := verb != "get", auth.ScopeRead
	var params []any
	list, _ := op["parameters"].([]any)
	limitParameters(id, list)
	for _, p := range list {
		if o, ok := p.(object); ok && o["name"] != "updateMask" {
			params = append(params, p)
		}
	}
	statuses := append([]int{400, 401, 403, 404, 406, 426, 429, 431, 500, 503, 504}, is.more...)
	if write {
		scope = auth.ScopeWrite
		statuses = append(statuses, 409, 410, 412, 413, 415, 422)
	}
	if is.keyed {
		params = append(params, ref("parameters", "IdempotencyKey"))
	}
	if is.later {
		params = append(params, ref("parameters", "Prefer"))
	}
	if verb == "patch" {
		params = append(params, ref("parameters", "IfMatch"))
	}
	if is.body != "" {
		body, err := dig(op, "requestBody", "content", "application/json")
		if err != nil {
			return err
		}
		body["schema"] = ref("schemas", is.body)
	}
	responses, err := dig(op, "responses")
	if err != nil {
		return err
	}
	ok, err := dig(responses, "200")
	if err != nil {
		return err
	}
	delete(responses, "default")
	old := policyOf(id).deprecated
	if old {
		op["deprecated"] = true
	}
	if !write {
		params = append(params, ref("parameters", "IfNoneMatch"), ref("parameters", "Fields"))
		responses["304"] = unchanged()
	}
	decorateSuccess(responses, ok, is, write, old)
	op["parameters"] = append(params, ref("parameters", "RequestId"), ref("parameters", "AppVersion"))
	op["security"] = []any{object{"oidc": []any{scope}}}
	if write {
		op["x-idempotency"] = policy(id)
	}
	for _, s := range statuses {
		responses[strconv.Itoa(s)] = ref("responses", name(s))
	}
	return nil
}

// decorateSuccess describes the answer.
func decorateSuccess(responses, ok object, is shape, write, old bool) {
	h := object{"X-Request-Id": ref("headers", "X-Request-Id"), "RateLimit": ref("headers", "RateLimit"), "RateLimit-Policy": ref("headers", "RateLimit-Policy")}
	switch {
	case !write:
		h["ETag"] = ref("headers", "ETag")
	case is.tagged:
		h["ETag"] = sometimes("ETag") // what was only checked has none
	}
	if old {
		h["Deprecation"], h["Sunset"] = ref("headers", "Deprecation"), ref("headers", "Sunset")
	}
	if is.keyed {
		for _, n := range []string{"Idempotency-Key", "Idempotency-Status", "Idempotent-Replayed"} {
			h[n] = ref("headers", n)
		}
	}
	ok["headers"], ok["description"] = h, "The answer."
	if is.many {
		ok["description"] = "One result per mutation, in order."
		responses["207"] = ok
		delete(responses, "200")
	}
	if is.later {
		accepted := object{"Location": ref("headers", "Location"), "Retry-After": ref("headers", "Retry-After"), "Preference-Applied": ref("headers", "Preference-Applied")}
		for n, v := range h {
			accepted[n] = v
		}
		responses["202"] = object{"description": "It will be made; `Location` is the operation to ask.", "content": ok["content"], "headers": accepted}
	}
	if is.made {
		created := object{"description": "It was made.", "content": ok["content"], "headers": object{"Location": ref("headers", "Location")}}
		for n, v := range h {
			created["headers"].(object)[n] = v
		}
		ok["description"] = "Nothing was made: it was known already, or only checked."
		responses["201"] = created
		if !is.known {
			delete(responses, "200")
		}
	}
}

// byHand are the paths that no method of the contract has.
func byHand() object {
	problems := func(responses object, statuses ...int) object {
		for _, s := range statuses {
			responses[strconv.Itoa(s)] = ref("responses", name(s))
		}
		return responses
	}
	return object{
		"/v1/orders/{order_id}/events": object{"get": object{
			"operationId": "WatchOrder", "tags": []any{"Orders"}, "summary": "WatchOrder streams the order's state, now and whenever it has changed.",
			"description": "Server-sent events. `event: order` carries the whole order as JSON and an id; send the last one as `Last-Event-ID` to go on. " +
				"An order that changed several times between two looks is told once. `event: reset` says that the id was not usable and the state follows anew; " +
				"`event: problem` is a problem as JSON, after which the stream ends: it may also be the first event, because the answer begins after a moment though the order could not be read yet. A comment comes at least every 15 seconds.",
			"parameters": []any{
				object{"name": "order_id", "in": "path", "required": true, "description": "The order's number.", "schema": object{"type": "string", "minLength": 1, "maxLength": 64}},
				ref("parameters", "LastEventId"), ref("parameters", "RequestId"), ref("parameters", "AppVersion"),
			},
			"security": []any{object{"oidc": []any{auth.ScopeRead}}},
			"responses": problems(object{"200": object{
				"description": "The stream.", "headers": object{"X-Request-Id": ref("headers", "X-Request-Id")},
				"content": object{"text/event-stream": object{"schema": object{"type": "string"}}},
			}}, 400, 401, 403, 404, 406, 426, 429, 431, 500, 503, 504),
		}},
		"/v1/meta": object{"get": object{
			"operationId": "GetMeta", "tags": []any{"Service"}, "summary": "GetMeta returns which app versions are served, and what this service can do.",
			"description": "Public, and served to apps that are too old for everything else.",
			"security":    []any{},
			"responses": object{
				"200": object{
					"description": "The document.", "headers": object{"ETag": ref("headers", "ETag"), "X-Request-Id": ref("headers", "X-Request-Id")},
					"content": object{"application/json": object{"schema": object{"$ref": refBase + "Meta"}}},
				},
				"304": unchanged(),
				"400": ref("responses", name(400)), "404": ref("responses", name(404)),
			},
		}},
	}
}

func metaSchema() object {
	s := func(description string) object { return object{"type": "string", "description": description} }
	n := func(description string) object { return object{"type": "integer", "description": description} }
	o := func(description string, properties object) object {
		return object{"type": "object", "description": description, "properties": properties}
	}
	return o("Meta is what an app reads before anything else.", object{
		"apiVersion": s("Version of this API."),
		"app": o("Versions of the app.", object{
			"minimumVersion": s("Oldest one that is served; empty for every one."), "currentVersion": s("Newest one; empty when nobody says."), "storeUrl": s("Where it is found."),
		}),
		"capabilities": object{"type": "array", "description": "What this service can do, by name.", "items": object{"type": "string"}},
		"limits": o("Limits.", object{
			"maxBodyBytes": n("Largest request body."), "maxPageSize": n("Largest page."), "maxMutations": n("Most mutations in one batch."),
		}),
		"idempotency": o("How long keys are good for, ISO 8601.", object{
			"answerKept": s("How long the answer to a key is kept."), "keyRemembered": s("How long it is known that a key was used."),
			"orderAnswerKept": s("How long the answer to an order is kept."), "ifMatchRequired": object{"type": "boolean", "description": "True if a change must carry If-Match."},
			"keyMinimumLength": n("Least length of a key."),
		}),
		"sync":  o("Delta sync.", object{"tokenLifetime": s("How long a sync token is good for, ISO 8601."), "fullResync": s("Where to begin again.")}),
		"links": object{"type": "array", "description": "Where more is said.", "items": o("Link is one.", object{"rel": s("What it is."), "href": s("Where it is.")})},
	})
}

func ref(kind, name string) object { return object{"$ref": "#/components/" + kind + "/" + name} }

// name of the shared response of a status.
func name(status int) string {
	return strings.NewReplacer(" ", "", "-", "").Replace(http.StatusText(status))
}

// problemResponses describes each status with the codes that come with it.
func problemResponses() object {
	codes := map[int][]string{}
	for _, e := range problem.Catalogue() {
		codes[e.Status] = append(codes[e.Status], e.Code)
	}
	out := object{}
	for status, list := range codes {
		if http.StatusText(status) == "" || status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented ||
			status == http.StatusFailedDependency { // only inside the answer to a batch

			continue
		}
		sort.Strings(list)
		h := object{"X-Request-Id": ref("headers", "X-Request-Id"), "X-Error-Code": ref("headers", "X-Error-Code"), "Link": ref("headers", "Link")}
		switch status {
		case http.StatusUnauthorized:
			h["WWW-Authenticate"] = ref("headers", "WWW-Authenticate")
		case http.StatusForbidden:
			h["WWW-Authenticate"] = sometimes("WWW-Authenticate")
		case http.StatusConflict:
			h["Retry-After"] = sometimes("Retry-After")
		case http.StatusServiceUnavailable:
			h["Retry-After"] = ref("headers", "Retry-After")
		case http.StatusTooManyRequests:
			h["Retry-After"], h["RateLimit"], h["RateLimit-Policy"] = ref("headers", "Retry-After"), ref("headers", "RateLimit"), ref("headers", "RateLimit-Policy")
		case http.StatusPreconditionFailed:
			h["ETag"] = sometimes("ETag")
		}
		out[name(status)] = object{
			"description": http.StatusText(status) + ": `" + strings.Join(list, "`, `") + "`.", "headers": h,
			"content": object{problem.MediaType: object{"schema": object{"$ref": refBase + "Problem"}}},
		}
	}
	return out
}

func info() object {
	return object{
		"title": "Selfsame mobile API", "version": "1.0.0", "summary": "Customers and their orders, for mobile apps.",
		"description": "One API over Salesforce and the ERP. Field names are camelCase, times are UTC, amounts are decimal numbers as text.\n\n" +
			"Words in `state`, `status` and the like may get additions: treat an unknown one as \"other\". Fields may be added to answers. " +
			"A request with an unknown field or parameter is refused.\n\n" +
			"A customer's `orders`, `cases` and `warranties` are known only if `sources` names the section.",
		"license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
	}
}

func tags() []any {
	return []any{
		object{"name": "Customers", "description": "Customers and the people who work for them."},
		object{"name": "Orders", "description": "Orders and their events."},
		object{"name": "Cases", "description": "Service cases."},
		object{"name": "Products", "description": "What can be promised."},
		object{"name": "Sync", "description": "Working offline: what changed since, and what was queued meanwhile."},
		object{"name": "Service", "description": "About this service."},
	}
}

func text(description, pattern string) object {
	schema := object{"type": "string"}
	if pattern != "" {
		schema["pattern"] = pattern
	}
	return object{"description": description, "schema": schema}
}

// constant is a header that every answer has which is described with it.
func constant(description, pattern string) object {
	h := text(description, pattern)
	h["required"] = true
	return h
}

// sometimes is such a header where an answer may lack it.
func sometimes(name string) object {
	h, _ := headers()[name].(object)
	delete(h, "required")
	return h
}

// unchanged is the answer to who has what there is.
func unchanged() object {
	return object{"description": "The client has the current representation.", "headers": object{"ETag": ref("headers", "ETag"), "X-Request-Id": ref("headers", "X-Request-Id")}}
}

func headers() object {
	return object{
		"ETag":                constant("Entity tag of what is shown. Send it back as If-None-Match, that of a customer also as If-Match.", `^"[!#-~]+"$`),
		"Link":                constant("Where to go instead, and where the code is explained.", `^<[^<>]+>; rel="[a-z-]+"$`),
		"Location":            constant("Path of what was made.", "^/v1/"),
		"X-Request-Id":        constant("Id of this request, also in logs and traces.", "^[A-Za-z0-9._-]{1,64}$"),
		"X-Error-Code":        constant("The member `code` of the problem.", "^[A-Z][A-Z0-9_]*$"),
		"WWW-Authenticate":    constant("How to authenticate, RFC 6750.", "^Bearer "),
		"Idempotency-Key":     text("The key as it was sent.", ""),
		"Idempotency-Status":  text("executed, replayed, in-progress or ignored.", "^[a-z-]+$"),
		"Idempotent-Replayed": text("\"true\" if this is the stored answer of an earlier request with the same key.", "^true$"),
		"RateLimit":           text("What is left of the caller's limit and when it is full again; sent when there is one. An IETF draft: only Retry-After is promised.", ""),
		"RateLimit-Policy": text("The caller's limit; sent when there is one. With 429, the one that refused: `caller` for requests, `writes` for writes, each of a batch counted, "+
			"`streams` for streams open at once.", ""),
		"Preference-Applied": constant("respond-async, when the answer is 202.", "^respond-async$"),
		"Deprecation":        constant("Since when something better is there, RFC 9745.", "^@[0-9]+$"),
		"Sunset":             constant("When this may stop answering, RFC 8594.", "^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT$"),
		"Retry-After":        object{"description": "Seconds to wait before the request is sent again.", "required": true, "schema": object{"type": "integer", "minimum": 1}},
	}
}

func parameters() object {
	header := func(name, description string, required bool, schema object) object {
		return object{"name": name, "in": "header", "description": description, "required": required, "schema": schema}
	}
	str := object{"type": "string"}
	return object{
		"IdempotencyKey": header("Idempotency-Key", "One key per intended change, for example a UUID; the same one with every try. 16 to 255 characters, bare or in double quotes. "+
			"How long the answer is kept, the operation's `x-idempotency` says.",
			true, object{"type": "string", "pattern": keyPattern}),
		"IfMatch":     header("If-Match", "The entity tag the change is based on; 412 if the customer has changed since.", false, str),
		"IfNoneMatch": header("If-None-Match", "Entity tag of the representation the client has; 304 if it is current.", false, str),
		"Fields": object{
			"name": fieldsName, "in": "query", "required": false, "schema": str,
			"description": "Members of the answer that are wanted, with commas, for example `name,address.city`; everything when absent. Others are then missing, although the schema requires them.",
		},
		"Prefer":      header("Prefer", "`respond-async` takes 202 for an answer when it cannot be done now, RFC 7240.", false, str),
		"LastEventId": header("Last-Event-ID", "Id of the last event that the client has.", false, str),
		"AppVersion":  header("App-Version", "Version of the app, for example 3.2.1; 426 if it is no longer served.", false, str),
		"RequestId":   header("X-Request-Id", "Id for this request: letters, digits, `-`, `_` and `.`, at most 64.", false, str),
	}
}

func problemSchema() object {
	p := func(description string) object { return object{"type": "string", "description": description} }
	return object{
		"type": "object", "description": "Problem is a refusal, RFC 9457.",
		"required": []any{"type", "title", "status", "detail", "instance", "code", "requestId", "retryable"},
		"properties": object{
			"type": p("Where the code is explained."), "title": p("Short text of the code."),
			"status": object{"type": "integer", "description": "The HTTP status."},
			"detail": p("What is wrong with this request."), "instance": p("Names this occurrence."),
			"code": p("Stable UPPER_SNAKE word; decide by it."), "requestId": p("Id of the request."),
			"retryable": object{"type": "boolean", "description": "True if the same request may be sent again with the same key."},
			"errors":    object{"type": "array", "description": "Every violation found.", "items": object{"$ref": refBase + "Violation"}},
		},
	}
}

func violationSchema() object {
	p := func(description string) object { return object{"type": "string", "description": description} }
	return object{
		"type": "object", "description": "Violation is one broken rule, placed by exactly one of pointer, parameter and header.",
		"required": []any{"code", "detail"},
		"properties": object{
			"pointer": p("RFC 6901 pointer into the body."), "parameter": p("Query or path parameter."), "header": p("Header."),
			"code": p("Stable UPPER_SNAKE word for the rule."), "detail": p("For people."),
		},
	}
}

func render(doc object) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("write description: %w", err)
	}
	return b.Bytes(), nil
}
