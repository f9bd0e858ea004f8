package bulk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
)

// Call is one request of someone who is logged in.
type Call struct {
	Request *http.Request
	// Method is that of the request unless the client overrode it.
	Method string
	// Version is the one in the path, such as 62.0.
	Version string
	// User is the id of who asks, Client the id the client gave itself.
	User   string
	Client string
	// Hidden tells the records that the user may not see; nil hides none.
	Hidden func(id string) bool
	// Fields are the rights of the user; nil means all of them.
	Fields schema.Rights
	// Mute tells the platform events that the user may not publish. Nil means
	// none.
	Mute func(o *schema.Object) bool
}

// Response is an answer. Stream is nil, or writes the body instead of Body.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	Stream func(w io.Writer) error
}

func reply(status int, v any) *Response {
	b, err := json.Marshal(v)
	if err != nil {
		return refuse(http.StatusInternalServerError, "UNKNOWN_EXCEPTION", "An unexpected error occurred.")
	}
	return &Response{Status: status, Header: http.Header{}, Body: b}
}

func refuse(status int, code, message string) *Response {
	type element struct {
		Code    string `json:"errorCode"`
		Message string `json:"message"`
	}
	return reply(status, []element{{code, message}})
}

// problem refuses with an error of the bulk API: its name in upper case as the
// code, and in the message.
func problem(name, message string) *Response {
	return refuse(http.StatusBadRequest, strings.ToUpper(name), name+" : "+message)
}

func notFound() *Response {
	return refuse(http.StatusNotFound, "NOT_FOUND", "The requested resource does not exist")
}

func wrongMethod(method string) *Response {
	return refuse(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "HTTP Method '"+method+"' not allowed.")
}

// Jobs serves everything under /services/data/vNN.0/jobs.
func (s *Service) Jobs(c Call, seg []string) *Response {
	if len(seg) == 0 {
		return notFound()
	}
	switch seg[0] {
	case "ingest":
		return s.ingestAPI(c, seg[1:])
	case "query":
		return s.queryAPI(c, seg[1:])
	}
	return notFound()
}

func (s *Service) ingestAPI(c Call, seg []string) *Response {
	if len(seg) == 0 {
		switch c.Method {
		case http.MethodPost:
			return s.createIngest(c)
		case http.MethodGet:
			return s.list(c, "ingest", ingestJob, classic)
		}
		return wrongMethod(c.Method)
	}
	id, _ := sfid.Normal(seg[0])
	j := s.find(id, ingestJob)
	if j == nil {
		return notFound()
	}
	if len(seg) == 1 {
		return s.one(c, j)
	}
	if len(seg) > 2 {
		return notFound()
	}
	switch c.Method + " " + seg[1] {
	case "PUT batches":
		return s.upload(c, j)
	case "GET successfulResults", "GET failedResults", "GET unprocessedrecords":
		return s.results(c, j, seg[1])
	}
	switch seg[1] {
	case "batches", "successfulResults", "failedResults", "unprocessedrecords":
		return wrongMethod(c.Method)
	}
	return notFound()
}

// one serves a single job of either kind.
func (s *Service) one(c Call, j *job) *Response {
	switch c.Method {
	case http.MethodGet, http.MethodHead:
		s.mu.Lock()
		defer s.mu.Unlock()
		return reply(http.StatusOK, j.info(true))
	case http.MethodPatch:
		return s.patch(c, j)
	case http.MethodDelete:
		return s.remove(j)
	}
	return wrongMethod(c.Method)
}

// wanted is the body of a request that makes a job.
type wanted struct {
	Object      string `json:"object"`
	Operation   string `json:"operation"`
	External    string `json:"externalIdFieldName"`
	Assignment  string `json:"assignmentRuleId"`
	ContentType string `json:"contentType"`
	Ending      string `json:"lineEnding"`
	Delimiter   string `json:"columnDelimiter"`
	Query       string `json:"query"`
}

func (s *Service) createIngest(c Call) *Response {
	kind, params, _ := mime.ParseMediaType(c.Request.Header.Get("Content-Type"))
	if kind == "multipart/form-data" {
		return s.createWithData(c, params["boundary"])
	}
	body, err := unpack(c.Request)
	if err != nil {
		return unreadableBody()
	}
	j, refusal := s.newIngest(c, body)
	if refusal != nil {
		return refusal
	}
	return s.keep(j)
}

// keep adds a job to those that exist and answers with it.
func (s *Service) keep(j *job) *Response {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(j)
	if j.state == uploadComplete {
		s.enqueue(j)
	}
	return reply(http.StatusOK, j.info(false))
}

// add gives the job its id. The lock is held.
func (s *Service) add(j *job) {
	s.forget()
	s.last++
	j.id = sfid.New("750", s.last)
	j.created = s.opt.Now()
	j.stamp = j.created
	s.jobs[j.id] = j
}

func unreadableBody() *Response {
	return refuse(http.StatusBadRequest, "JSON_PARSER_ERROR", "The request body could not be read.")
}

// maxJSON is the size of a job description.
const maxJSON = 1 << 20

func decode(in io.Reader, into any) *Response {
	if err := json.NewDecoder(io.LimitReader(in, maxJSON)).Decode(into); err != nil {
		return refuse(http.StatusBadRequest, "JSON_PARSER_ERROR", "The request body is not a job.")
	}
	return nil
}

func (s *Service) newIngest(c Call, body io.Reader) (*job, *Response) {
	var in wanted
	if refusal := decode(body, &in); refusal != nil {
		return nil, refusal
	}
	j := &job{kind: ingestJob, state: open, version: c.Version, user: c.User, hidden: c.Hidden, fields: c.Fields, mute: c.Mute, client: c.Client, operation: in.Operation, assignment: in.Assignment, data: &blob{limit: maxUpload}}
	if in.ContentType != "" && in.ContentType != "CSV" {
		return nil, problem("InvalidJob", "The only content type supported is CSV")
	}
	if refusal := j.shape(in.Delimiter, in.Ending); refusal != nil {
		return nil, refusal
	}
	if name, message := j.target(s.opt, in.Object, in.External); name != "" {
		return nil, problem(name, message)
	}
	return j, nil
}

// shape sets delimiter and line ending.
func (j *job) shape(delim, ending string) *Response {
	if j.delimiter = delim; delim == "" {
		j.delimiter = "COMMA"
	}
	if j.ending = ending; ending == "" {
		j.ending = "LF"
	}
	if delimiter(j.delimiter) == 0 || j.ending != "LF" && j.ending != "CRLF" {
		return problem("InvalidJob", "The column delimiter or the line ending is unknown")
	}
	return nil
}

// target checks object, operation and external id, and returns the name and
// text of what is wrong.
func (j *job) target(opt Options, object, external string) (name, message string) {
	if object == "" {
		return "InvalidJob", "No object is specified"
	}
	if j.object = opt.Schema.Object(object); j.object == nil {
		return "InvalidEntity", "Unable to find object: " + object
	}
	switch j.operation {
	case "insert", "update", "delete":
	case "hardDelete":
		if !opt.HardDelete {
			return "FeatureNotEnabled", "hardDelete operation requires special user profile permission, please contact your system administrator"
		}
	case "upsert":
		if external == "" {
			return "InvalidJob", fmt.Sprintf("External ID was blank for %s. An External ID must be specified for upsert.", j.object.Name)
		}
		f := j.object.Field(external)
		if f == nil || !f.ExternalID && !f.IDLookup && f.Sys != schema.SysID {
			return "InvalidJob", fmt.Sprintf("Field name provided '%s' does not match an External ID, Salesforce Id, or indexed field for '%s'", external, j.object.Name)
		}
		j.external = f
	default:
		return "InvalidJob", "The operation '" + j.operation + "' is unknown"
	}
	return "", ""
}

// upload takes the data of a job, once.
func (s *Service) upload(c Call, j *job) *Response {
	kind, _, _ := mime.ParseMediaType(c.Request.Header.Get("Content-Type"))
	if kind != "text/csv" {
		return refuse(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "The content type of the data is text/csv")
	}
	s.mu.Lock()
	switch {
	case j.state != open:
		s.mu.Unlock()
		return problem("InvalidJobState", "Data can be uploaded only while the job is open, not in the state "+string(j.state))
	case j.uploading || j.data.size > 0:
		s.mu.Unlock()
		return problem("ClientInputError", "Found multiple contents for job: <"+j.id+">; upload the data with one PUT, or start again with another job")
	}
	j.uploading = true
	s.mu.Unlock()

	data := &blob{limit: maxUpload}
	body, err := unpack(c.Request)
	if err == nil {
		_, err = io.Copy(data, body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	j.uploading = false
	switch {
	case errors.Is(err, errTooLarge):
		return problem("ClientInputError", "The data of a job must not exceed 150 MB")
	case err != nil:
		return problem("ClientInputError", "The data could not be read")
	case j.state != open:
		return problem("InvalidJobState", "The job left the state Open during the upload")
	}
	j.data, j.stamp = data, s.opt.Now()
	return &Response{Status: http.StatusCreated, Header: http.Header{}}
}

// patch closes or aborts a job.
func (s *Service) patch(c Call, j *job) *Response {
	body, err := unpack(c.Request)
	if err != nil {
		return unreadableBody()
	}
	var in struct {
		State state `json:"state"`
	}
	if refusal := decode(body, &in); refusal != nil {
		return refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opt.Now()
	switch {
	case in.State == uploadComplete && j.kind == ingestJob:
		if j.state != open || j.uploading {
			return problem("InvalidJobState", "A job in the state "+string(j.state)+" cannot become UploadComplete")
		}
		if j.client == "" {
			j.client = c.Client
		}
		j.enter(uploadComplete, now)
		s.enqueue(j)
	case in.State == aborted:
		if j.state.final() {
			return problem("InvalidJobState", "Aborting already Completed Job not allowed")
		}
		if !j.busy && j.kind == ingestJob {
			j.rest = append(j.rest, span{0, j.data.size})
		}
		j.enter(aborted, now)
		s.signal()
	default:
		return problem("InvalidJob", "The state must be UploadComplete or Aborted")
	}
	return reply(http.StatusOK, j.info(false))
}

// remove deletes a job that is not being worked on.
func (s *Service) remove(j *job) *Response {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.state != uploadComplete && !j.state.final() {
		return problem("InvalidJobState", "A job in the state "+string(j.state)+" cannot be deleted")
	}
	if !j.state.final() {
		j.enter(aborted, s.opt.Now())
	}
	delete(s.jobs, j.id)
	return &Response{Status: http.StatusNoContent, Header: http.Header{}}
}
