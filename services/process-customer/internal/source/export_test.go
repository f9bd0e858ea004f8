package source

import (
	"testing"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
)

// people mirrors sourcetest.People, which this package's own tests cannot import.
type people interface {
	Create(obj golden.Object, parentID string, values golden.Values) string
	Edit(obj golden.Object, id string, values golden.Values)
	Delete(obj golden.Object, id string)
}

// CRMForTest returns the adapter over a small system-salesforce.
func CRMForTest(t *testing.T) (System, people) {
	t.Helper()
	c, sys := newCRM(t)
	return sys, c
}

// ERPForTest returns the adapter over a small system-erp.
func ERPForTest(t *testing.T) (System, people) {
	t.Helper()
	b, sys := newBackend(t)
	return sys, b
}
