package bulk

import (
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
)

// The states of a batch of Bulk API 1.0 that are not states of a job too.
const (
	queued       state = "Queued"
	completed    state = "Completed"
	notProcessed state = "NotProcessed"
)

// maxClassicBatch is the size of the data of one batch.
const maxClassicBatch = 10_000_000

// classicBatch is one batch of Bulk API 1.0. It is guarded by the lock of the
// service, but for run, which belongs to the worker until the batch has ended.
type classicBatch struct {
	id      string
	state   state
	message string
	created time.Time
	stamp   time.Time
	started time.Time
	data    *blob
	run     *batch
	results []outcome
	failed  int
}

// classic processes the waiting batches of a job: one after the other if the
// job is serial, else some at a time.
func (s *Service) classic(ctx context.Context, j *job) {
	width := parallelBatches
	if j.serial {
		width = 1
	}
	var active []*classicBatch
	for turn := 0; ; turn++ {
		active = append(active, s.take(j, width-len(active))...)
		if len(active) == 0 {
			return
		}
		locks := map[string]*batch{}
		for i := range active {
			b := active[(turn+i)%len(active)]
			if !s.goOn(ctx, j) {
				s.stop(active)
				return
			}
			problem := s.begin(j, b)
			if problem == "" {
				problem = s.step(j, b.run, locks)
			}
			if problem != "" || b.run.ended {
				s.finish(j, b, problem)
			}
		}
		active = slices.DeleteFunc(active, func(b *classicBatch) bool { return b.state != inProgress })
	}
}

// take starts up to n waiting batches.
func (s *Service) take(j *job, n int) []*classicBatch {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*classicBatch
	now := s.opt.Now()
	if j.started.IsZero() {
		j.started = now
	}
	for _, b := range j.batches {
		if b.state == queued && len(out) < n && j.running() {
			b.state, b.stamp, b.started = inProgress, now, now
			out = append(out, b)
		}
	}
	return out
}

// begin reads the data of a batch, unless that was done.
func (s *Service) begin(j *job, b *classicBatch) trouble {
	if b.run != nil {
		return ""
	}
	b.run = &batch{writer: writer{s.opt.Schema, j.object, j.operation, j.external, nil}, origin: j.origin(), user: j.user, wishes: j.wishes(), hidden: j.hidden, fields: j.fields, mute: j.mute}
	switch j.contentType {
	case "CSV":
		return b.readCSV(s.opt.Schema, j)
	case "JSON":
		var rows []map[string]any
		d := json.NewDecoder(b.data.section(0, b.data.size))
		d.UseNumber()
		if err := d.Decode(&rows); err != nil {
			return "InvalidBatch : Failed to parse JSON"
		}
		return b.give(rows)
	}
	rows, err := readXML(b.data.section(0, b.data.size))
	if err != nil {
		return "InvalidBatch : Failed to parse XML"
	}
	return b.give(rows)
}

func (b *classicBatch) readCSV(model *schema.Schema, j *job) trouble {
	in := newCSV(b.data.section(0, b.data.size), 0, ',', "")
	head, err := in.read()
	if err != nil || head.bad != "" {
		return "InvalidBatch : Failed to parse CSV header"
	}
	var names []string
	for _, v := range head.values {
		names = append(names, string(v))
	}
	columns, message := headings(model, j.object, j.operation, names, j.fields)
	if message != "" {
		return trouble(message)
	}
	rows := 0
	for ; ; rows++ {
		if _, err := in.read(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return trouble("InvalidBatch : Failed to parse CSV: " + err.Error())
		}
	}
	if rows > batchRows {
		return tooManyRows
	}
	b.run.columns = columns
	b.run.span, b.run.next = span{head.end, b.data.size}, head.end
	b.run.stream(b.data, ',', "", false)
	return ""
}

const tooManyRows = trouble("InvalidBatch : Records not processed: a batch must not have more than 10,000 records")

// give makes records of decoded rows.
func (b *classicBatch) give(rows []map[string]any) trouble {
	if len(rows) > batchRows {
		return tooManyRows
	}
	left := make([]record, len(rows))
	for i, in := range rows {
		r := record{start: uint32(i), in: in}
		for name, v := range in {
			text, _ := v.(string)
			if n, ok := v.(json.Number); ok {
				text = n.String()
			}
			switch f := b.run.object.Field(name); {
			case name == "attributes":
				delete(in, name)
			case f == nil:
			case f.Sys == schema.SysID && (b.run.operation != "insert" || text == ""):
				r.id = text
				delete(in, name)
			case f == b.run.external:
				r.key = text
				delete(in, name)
			}
		}
		left[i] = r
	}
	b.run.read = func(n int) []record {
		out := left[:min(n, len(left))]
		left = left[len(out):]
		return out
	}
	return ""
}

// readXML reads the sObject elements of a batch. A nested sObject refers to a
// parent.
func readXML(in io.Reader) ([]map[string]any, error) {
	type element struct {
		XMLName xml.Name
		Nil     string    `xml:"http://www.w3.org/2001/XMLSchema-instance nil,attr"`
		Text    string    `xml:",chardata"`
		Object  []element `xml:"sObject"`
		Members []element `xml:",any"`
	}
	var doc struct {
		Objects []element `xml:"sObject"`
	}
	if err := xml.NewDecoder(in).Decode(&doc); err != nil {
		return nil, err
	}
	var members func(e element) map[string]any
	members = func(e element) map[string]any {
		out := map[string]any{}
		for _, m := range e.Members {
			name := m.XMLName.Local
			switch {
			case m.Nil == "true" || m.Nil == "1":
				out[name] = nil
			case len(m.Object) > 0:
				out[name] = members(m.Object[0])
			default:
				out[name] = m.Text
			}
		}
		delete(out, "type")
		return out
	}
	var out []map[string]any
	for _, o := range doc.Objects {
		out = append(out, members(o))
	}
	return out, nil
}

// finish keeps the results of a batch, in the order of its rows.
func (s *Service) finish(j *job, b *classicBatch, problem trouble) {
	slices.SortFunc(b.run.done, func(x, y outcome) int { return cmp.Compare(x.start, y.start) })
	s.mu.Lock()
	defer s.mu.Unlock()
	b.state, b.message, b.stamp = completed, string(problem), s.opt.Now()
	if problem != "" {
		b.state = failed
	}
	b.results, b.run = b.run.done, nil
	for _, o := range b.results {
		if o.fail != nil {
			b.failed++
		}
	}
	j.stamp = b.stamp
	s.signal()
}

// stop gives up batches of a job that was aborted.
func (s *Service) stop(active []*classicBatch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range active {
		b.state, b.message = failed, "Aborted"
		if b.run != nil {
			b.results, b.run = b.run.done, nil
		}
	}
}

// addBatch takes the data of a batch.
func (s *Service) addBatch(c Call, j *job) (*classicBatch, string, string) {
	data := &blob{limit: maxClassicBatch}
	body, err := unpack(c.Request)
	if err == nil {
		_, err = io.Copy(data, body)
	}
	switch {
	case errors.Is(err, errTooLarge):
		return nil, "ClientInputError", "The data of a batch must not exceed 10 MB"
	case err != nil:
		return nil, "ClientInputError", "The data could not be read"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.state != open {
		return nil, "InvalidJobState", "Unable to add a batch to a job that is not open"
	}
	if !s.opt.Batches.Take(1) {
		return nil, "ExceededQuota", "The daily allocation of batches is used up"
	}
	now := s.opt.Now()
	s.batch++
	b := &classicBatch{id: sfid.New("751", s.batch), state: queued, created: now, stamp: now, data: data}
	j.batches = append(j.batches, b)
	if !j.busy {
		j.busy = true
		s.enqueue(j)
	}
	return b, "", ""
}

// newClassic checks the description of a job.
func (s *Service) newClassic(c Call, in *classicInfo) (j *job, name, message string) {
	j = &job{
		kind: classic, state: open, version: c.Version, user: c.User, hidden: c.Hidden, fields: c.Fields, mute: c.Mute, client: c.Client, operation: in.Operation, assignment: in.Assignment,
		contentType: in.ContentType, serial: in.Concurrency == "Serial",
	}
	switch {
	case in.Operation == "query" || in.Operation == "queryAll":
		return nil, "FeatureNotEnabled", "Bulk API 1.0 queries are not served; use query jobs of Bulk API 2.0"
	case in.Concurrency != "" && in.Concurrency != "Serial" && in.Concurrency != "Parallel":
		return nil, "InvalidJob", "The concurrency mode must be Serial or Parallel"
	}
	if j.contentType == "" {
		j.contentType = "XML"
	}
	if j.contentType != "CSV" && j.contentType != "XML" && j.contentType != "JSON" {
		return nil, "InvalidJob", "The content type " + j.contentType + " is not served"
	}
	if name, message = j.target(s.opt, in.Object, in.External); name != "" {
		return nil, name, message
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(j)
	return j, "", ""
}

// changeClassic closes or aborts a job.
func (s *Service) changeClassic(j *job, to state) (name, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opt.Now()
	switch {
	case to != closed && to != aborted:
		return "InvalidJob", "The state must be Closed or Aborted"
	case j.state != open && (to == closed || j.state != closed):
		return "InvalidJobState", "A job in the state " + string(j.state) + " cannot become " + string(to)
	case to == aborted:
		for _, b := range j.batches {
			if b.state == queued {
				b.state, b.message, b.stamp = notProcessed, "Aborted", now
			}
		}
	}
	j.enter(to, now)
	s.signal()
	return "", ""
}
