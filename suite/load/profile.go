package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"

	"github.com/selfsame-io/selfsame/suite"
)

// RunProfiled runs one service like [suite.RunService] and writes a processor profile of its whole life and a heap
// profile of its end into a directory: NAME-PID.cpu.pprof and NAME-PID.heap.pprof, because some are started several times. A service that is
// killed leaves none.
func RunProfiled(ctx context.Context, dir, name string, args []string) (err error) {
	file := fmt.Sprintf("%s-%d", name, os.Getpid())
	cpu, err := os.Create(filepath.Join(dir, file+".cpu.pprof"))
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer func() { err = errors.Join(err, cpu.Close()) }()
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer pprof.StopCPUProfile()
	runErr := suite.RunService(ctx, name, args)
	heap, err := os.Create(filepath.Join(dir, file+".heap.pprof"))
	if err != nil {
		return errors.Join(runErr, fmt.Errorf("profile: %w", err))
	}
	return errors.Join(runErr, pprof.WriteHeapProfile(heap), heap.Close())
}
