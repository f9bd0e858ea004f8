package source_test

import (
	"testing"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/source"
	"github.com/selfsame-io/selfsame/services/process-customer/internal/source/sourcetest"
)

func TestAdaptersKeepTheContract(t *testing.T) {
	t.Parallel()
	t.Run("salesforce", func(t *testing.T) {
		t.Parallel()
		sourcetest.Contract(t, func(t *testing.T) (source.System, sourcetest.People) { return source.CRMForTest(t) })
	})
	t.Run("erp", func(t *testing.T) {
		t.Parallel()
		sourcetest.Contract(t, func(t *testing.T) (source.System, sourcetest.People) { return source.ERPForTest(t) })
	})
}

func TestIDs(t *testing.T) {
	t.Parallel()
	const id = "c_aaaaaaaaaaaaaaaaaaaaaaaaaa"
	for text, want := range map[string]string{
		source.ExternalIDOf(id, ""): id, source.ExternalIDOf(id, "001x"): id, "": "", "BP-7": "", "c_short": "", id + "x": "",
	} {
		if got := source.GoldenIDOf(text); string(got) != want {
			t.Errorf("GoldenIDOf(%q) = %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]bool{
		source.ExternalIDOf(id, ""): true, source.ExternalIDOf(id, "001x"): false, "": false, "BP-7": false, id + ".": false,
	} {
		if got := source.IsFirst(text); got != want {
			t.Errorf("IsFirst(%q) = %t, want %t", text, got, want)
		}
	}
}
