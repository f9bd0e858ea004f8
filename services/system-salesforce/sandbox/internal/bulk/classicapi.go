package bulk

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
)

// namespace is that of every XML document of Bulk API 1.0.
const namespace = "http://www.force.com/2009/06/asyncapi/dataload"

// classicInfo is the wire form of a job of Bulk API 1.0.
type classicInfo struct {
	XMLName     xml.Name    `json:"-" xml:"jobInfo"`
	Space       string      `json:"-" xml:"xmlns,attr,omitempty"`
	ID          string      `json:"id" xml:"id"`
	Operation   string      `json:"operation" xml:"operation"`
	Object      string      `json:"object" xml:"object"`
	CreatedBy   string      `json:"createdById" xml:"createdById"`
	Created     string      `json:"createdDate" xml:"createdDate"`
	Modstamp    string      `json:"systemModstamp" xml:"systemModstamp"`
	State       state       `json:"state" xml:"state"`
	External    string      `json:"externalIdFieldName,omitempty" xml:"externalIdFieldName,omitempty"`
	Assignment  string      `json:"assignmentRuleId,omitempty" xml:"assignmentRuleId,omitempty"`
	Concurrency string      `json:"concurrencyMode" xml:"concurrencyMode"`
	ContentType string      `json:"contentType" xml:"contentType"`
	Queued      int         `json:"numberBatchesQueued" xml:"numberBatchesQueued"`
	InProgress  int         `json:"numberBatchesInProgress" xml:"numberBatchesInProgress"`
	Completed   int         `json:"numberBatchesCompleted" xml:"numberBatchesCompleted"`
	Failed      int         `json:"numberBatchesFailed" xml:"numberBatchesFailed"`
	Total       int         `json:"numberBatchesTotal" xml:"numberBatchesTotal"`
	Processed   int64       `json:"numberRecordsProcessed" xml:"numberRecordsProcessed"`
	Retries     int         `json:"numberRetries" xml:"numberRetries"`
	Version     json.Number `json:"apiVersion" xml:"apiVersion"`
	Lost        int64       `json:"numberRecordsFailed" xml:"numberRecordsFailed"`
	TotalTime   int64       `json:"totalProcessingTime" xml:"totalProcessingTime"`
	ActiveTime  int64       `json:"apiActiveProcessingTime" xml:"apiActiveProcessingTime"`
	ApexTime    int64       `json:"apexProcessingTime" xml:"apexProcessingTime"`
}

// batchInfo is the wire form of a batch.
type batchInfo struct {
	XMLName   xml.Name `json:"-" xml:"batchInfo"`
	Space     string   `json:"-" xml:"xmlns,attr,omitempty"`
	ID        string   `json:"id" xml:"id"`
	Job       string   `json:"jobId" xml:"jobId"`
	State     state    `json:"state" xml:"state"`
	Message   string   `json:"stateMessage,omitempty" xml:"stateMessage,omitempty"`
	Created   string   `json:"createdDate" xml:"createdDate"`
	Modstamp  string   `json:"systemModstamp" xml:"systemModstamp"`
	Processed int      `json:"numberRecordsProcessed" xml:"numberRecordsProcessed"`
	Failed    int      `json:"numberRecordsFailed" xml:"numberRecordsFailed"`
	Total     int64    `json:"totalProcessingTime" xml:"totalProcessingTime"`
	Active    int64    `json:"apiActiveProcessingTime" xml:"apiActiveProcessingTime"`
	Apex      int64    `json:"apexProcessingTime" xml:"apexProcessingTime"`
}

type batchList struct {
	XMLName xml.Name    `json:"-" xml:"batchInfoList"`
	Space   string      `json:"-" xml:"xmlns,attr,omitempty"`
	Batches []batchInfo `json:"batchInfo" xml:"batchInfo"`
}

type fault struct {
	XMLName xml.Name `json:"-" xml:"error"`
	Space   string   `json:"-" xml:"xmlns,attr,omitempty"`
	Code    string   `json:"exceptionCode" xml:"exceptionCode"`
	Message string   `json:"exceptionMessage" xml:"exceptionMessage"`
}

// Fault is a refusal in the form of Bulk API 1.0: XML, or JSON if the request
// is JSON.
func Fault(r *http.Request, code, message string) *Response {
	inJSON := isJSON(r.Header.Get("Content-Type")) || isJSON(r.Header.Get("Accept"))
	return classicReply(http.StatusBadRequest, inJSON, fault{Space: namespace, Code: code, Message: message})
}

func classicReply(status int, inJSON bool, v any) *Response {
	if inJSON {
		return reply(status, v)
	}
	b, err := xmlText(v)
	if err != nil {
		return refuse(http.StatusInternalServerError, "UNKNOWN_EXCEPTION", "An unexpected error occurred.")
	}
	return &Response{Status: status, Header: http.Header{"Content-Type": {"application/xml"}}, Body: b}
}

// Async serves everything under /services/async/NN.0.
func (s *Service) Async(c Call, seg []string) *Response {
	if len(seg) == 0 || seg[0] != "job" || len(seg) > 5 {
		return Fault(c.Request, "InvalidUrl", "The URL is not served")
	}
	if len(seg) == 1 {
		if c.Method != http.MethodPost {
			return Fault(c.Request, "MethodNotAllowed", "The method is not allowed here")
		}
		return s.createClassic(c)
	}
	id, _ := sfid.Normal(seg[1])
	j := s.find(id, classic)
	if j == nil {
		return Fault(c.Request, "InvalidJob", "Unable to find a job with the id "+seg[1])
	}
	if len(seg) == 2 {
		return s.oneClassic(c, j)
	}
	if seg[2] != "batch" {
		return Fault(c.Request, "InvalidUrl", "The URL is not served")
	}
	if len(seg) == 3 {
		return s.batchesOf(c, j)
	}
	return s.oneBatch(c, j, seg[3:])
}

func jsonWanted(c Call, j *job) bool {
	return isJSON(c.Request.Header.Get("Content-Type")) || isJSON(c.Request.Header.Get("Accept")) || j != nil && j.contentType == "JSON"
}

func (s *Service) describeClassic(c Call) (*classicInfo, *Response) {
	body, err := unpack(c.Request)
	if err != nil {
		return nil, Fault(c.Request, "ClientInputError", "The body could not be read")
	}
	in := &classicInfo{}
	body = io.LimitReader(body, maxJSON)
	if isJSON(c.Request.Header.Get("Content-Type")) {
		err = jsonBody(body, in)
	} else {
		err = xmlBody(body, in)
	}
	if err != nil {
		return nil, Fault(c.Request, "InvalidJob", "The body is no job description")
	}
	return in, nil
}

func (s *Service) createClassic(c Call) *Response {
	in, refusal := s.describeClassic(c)
	if refusal != nil {
		return refusal
	}
	j, name, message := s.newClassic(c, in)
	if name != "" {
		return Fault(c.Request, name, message)
	}
	return s.showClassic(c, j, http.StatusCreated)
}

func (s *Service) oneClassic(c Call, j *job) *Response {
	switch c.Method {
	case http.MethodGet:
	case http.MethodPost:
		in, refusal := s.describeClassic(c)
		if refusal != nil {
			return refusal
		}
		if name, message := s.changeClassic(j, in.State); name != "" {
			return Fault(c.Request, name, message)
		}
	default:
		return Fault(c.Request, "MethodNotAllowed", "The method is not allowed here")
	}
	return s.showClassic(c, j, http.StatusOK)
}

func (s *Service) showClassic(c Call, j *job, status int) *Response {
	inJSON := jsonWanted(c, j)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := classicInfo{
		Space: namespace, ID: j.id, Operation: j.operation, Object: j.object.Name, CreatedBy: j.user, Created: classicTime(j.created, inJSON),
		Modstamp: classicTime(j.stamp, inJSON), State: j.state, Assignment: j.assignment, Concurrency: "Parallel", ContentType: j.contentType,
		Total: len(j.batches), Processed: j.processed, Retries: j.retries, Version: json.Number(j.version), Lost: j.failed,
		TotalTime: j.total().Milliseconds(), ActiveTime: j.active.Milliseconds(), ApexTime: j.apex.Milliseconds(),
	}
	if j.serial {
		i.Concurrency = "Serial"
	}
	if j.external != nil {
		i.External = j.external.Name
	}
	for _, b := range j.batches {
		switch b.state {
		case queued:
			i.Queued++
		case inProgress:
			i.InProgress++
		case completed:
			i.Completed++
		default:
			i.Failed++
		}
	}
	return classicReply(status, inJSON, i)
}

func classicTime(t time.Time, inJSON bool) string {
	if inJSON {
		return wireTime(t)
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

func (s *Service) batchesOf(c Call, j *job) *Response {
	switch c.Method {
	case http.MethodPost:
		kind := c.Request.Header.Get("Content-Type")
		if want := strings.ToLower(j.contentType); !strings.Contains(strings.ToLower(kind), want) {
			return Fault(c.Request, "InvalidBatch", "The content type of the batch is not that of the job, "+j.contentType)
		}
		b, name, message := s.addBatch(c, j)
		if name != "" {
			return Fault(c.Request, name, message)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		inJSON := jsonWanted(c, j)
		i := b.info(j, inJSON)
		i.Space = namespace
		return classicReply(http.StatusCreated, inJSON, i)
	case http.MethodGet:
		s.mu.Lock()
		defer s.mu.Unlock()
		out := batchList{Space: namespace, Batches: []batchInfo{}}
		for _, b := range j.batches {
			out.Batches = append(out.Batches, b.info(j, jsonWanted(c, j)))
		}
		return classicReply(http.StatusOK, jsonWanted(c, j), out)
	}
	return Fault(c.Request, "MethodNotAllowed", "The method is not allowed here")
}

// info describes the batch. The lock of the service is held.
func (b *classicBatch) info(j *job, inJSON bool) batchInfo {
	i := batchInfo{
		ID: b.id, Job: j.id, State: b.state, Message: b.message, Created: classicTime(b.created, inJSON), Modstamp: classicTime(b.stamp, inJSON),
		Processed: len(b.results), Failed: b.failed,
	}
	if !b.started.IsZero() {
		i.Total = b.stamp.Sub(b.started).Milliseconds()
		i.Active = i.Total
	}
	return i
}

func (s *Service) oneBatch(c Call, j *job, seg []string) *Response {
	id, _ := sfid.Normal(seg[0])
	s.mu.Lock()
	defer s.mu.Unlock()
	var b *classicBatch
	for _, x := range j.batches {
		if x.id == id {
			b = x
		}
	}
	switch {
	case b == nil:
		return Fault(c.Request, "InvalidBatch", "Unable to find a batch with the id "+seg[0])
	case c.Method != http.MethodGet:
		return Fault(c.Request, "MethodNotAllowed", "The method is not allowed here")
	case len(seg) == 1:
		i := b.info(j, jsonWanted(c, j))
		i.Space = namespace
		return classicReply(http.StatusOK, jsonWanted(c, j), i)
	case seg[1] == "request":
		return &Response{Status: http.StatusOK, Header: http.Header{"Content-Type": {mimeOf(j.contentType)}}, Stream: func(w io.Writer) error {
			_, err := io.Copy(w, b.data.section(0, b.data.size))
			return err
		}}
	case seg[1] != "result":
		return Fault(c.Request, "InvalidUrl", "The URL is not served")
	case b.state != completed && b.state != failed:
		return Fault(c.Request, "InvalidBatch", "The batch is not completed")
	}
	switch j.contentType {
	case "CSV":
		return &Response{Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/csv"}}, Body: resultCSV(b.results)}
	case "JSON":
		return reply(http.StatusOK, classicResults(b.results))
	}
	return classicReply(http.StatusOK, false, struct {
		XMLName xml.Name `xml:"results"`
		Space   string   `xml:"xmlns,attr"`
		Results []classicResult
	}{Space: namespace, Results: classicResults(b.results)})
}

func mimeOf(contentType string) string {
	if contentType == "CSV" {
		return "text/csv"
	}
	return "application/" + strings.ToLower(contentType)
}
