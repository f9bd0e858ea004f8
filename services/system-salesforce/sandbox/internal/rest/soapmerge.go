package rest

import (
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// merge makes one record of several, request by request, each a transaction of
// its own. The REST API has no such call.
func (c *soapCall) merge(in *element) *answer {
	var b strings.Builder
	requests := 0
	for i := range in.Children {
		request := &in.Children[i]
		if request.XMLName.Local != "request" {
			continue
		}
		if requests++; requests > maxIDs {
			return tooManyIDs()
		}
		b.WriteString(c.mergeOne(request))
	}
	return soapAnswer("<mergeResponse>" + b.String() + "</mergeResponse>")
}

// mergeOne answers with a MergeResult, in the order of the WSDL.
func (c *soapCall) mergeOne(request *element) string {
	var id string
	values := map[string]any{}
	for _, master := range request.Children {
		if master.XMLName.Local != "masterRecord" {
			continue
		}
		for _, f := range master.Children {
			switch name, text := f.XMLName.Local, strings.TrimSpace(f.Text); name {
			case "type":
			case "Id":
				id, _ = sfid.Normal(text)
			case "fieldsToNull":
				values[text] = nil
			default:
				values[name] = text
			}
		}
	}
	victims := recordIDs(request.texts("recordToMergeIds"))
	var related []string
	var refusal *store.Error
	_ = c.opt.Store.Write(c.meta(), func(tx *store.Tx) error { // the refusal is kept
		related, refusal = tx.Merge(id, values, victims)
		return nil
	})
	if refusal != nil {
		return "<result>" + soapError(refusal) + tag("id", "") + tag("success", "false") + "</result>"
	}
	tags := func(name string, ids []string) (out string) {
		for _, id := range ids {
			out += tag(name, id)
		}
		return out
	}
	slices.Sort(related)
	return "<result>" + tag("id", id) + tags("mergedRecordIds", victims) + tag("success", "true") + tags("updatedRelatedIds", slices.Compact(related)) + "</result>"
}
