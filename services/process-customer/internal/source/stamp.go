package source

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// stamped is what all records of both services have.
type stamped interface {
	GetId() string
	GetVersion() int64
	GetUpdateTime() *timestamppb.Timestamp
	GetDeleted() bool
}

// stamp returns a record without content.
func stamp(system string, obj golden.Object, m stamped) *Record {
	return &Record{
		Ref:     golden.Ref{System: system, Object: obj, RecordID: m.GetId()},
		Version: m.GetVersion(), EventTime: timeOf(m.GetUpdateTime()), Deleted: m.GetDeleted(), Values: golden.Values{},
	}
}

// writesParent reports whether the write says who a contact works for.
func (w *Write) writesParent() bool {
	_, named := w.Values[golden.Parent]
	return named || w.ParentID != ""
}
