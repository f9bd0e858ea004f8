package simulation_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/process-customer/internal/golden"
	"github.com/selfsame-io/selfsame/services/process-customer/simulation"
)

// Steps that most stories are made of.
func read(system string) simulation.Step {
	return simulation.Step{Act: simulation.Read, System: system}
}

func deliver(system string) simulation.Step {
	return simulation.Step{Act: simulation.Deliver, System: system}
}

// straggle has the next write to a system arrive late.
func straggle(system string) simulation.Step {
	return simulation.Step{Act: simulation.Fault, System: system, Kind: simulation.Straggle}
}

// by has another process do a step.
func by(process int, s simulation.Step) simulation.Step {
	s.Process = process
	return s
}

func create(system string, who int, phone string) simulation.Step {
	return simulation.Step{Act: simulation.Create, System: system, Who: who, Value: phone}
}

func edit(system string, who int, field, value string) simulation.Step {
	return simulation.Step{Act: simulation.Edit, System: system, Who: who, Field: field, Value: value}
}

// leaving merges a customer into another one, whose contacts it leaves behind.
func leaving(system string, winner, loser int) simulation.Step {
	return simulation.Step{Act: simulation.Merge, System: system, Who: winner, N: loser, Kind: simulation.LeavesContacts}
}

// stories once broke the promise, each as the simulation had shortened it.
func stories() map[string]simulation.Story {
	const sf, erp = "salesforce", "erp"
	return map[string]simulation.Story{
		"a record that cannot be taken in is not written to for ever": {Seed: 9, Late: true, Processes: 1, Steps: []simulation.Step{
			create(sf, 1, "phone 1"), read(sf), read(erp), deliver(sf), deliver(erp),
			{Act: simulation.Spoil, System: erp, Who: 1, Field: golden.Website},
		}},
		"an old reading of what we wrote before is nobody's word": {Seed: 9, Processes: 1, Steps: []simulation.Step{
			create(erp, 1, "phone 1"), read(sf), read(erp), deliver(sf), deliver(erp), read(sf), read(erp),
			edit(erp, 1, golden.Phone, "phone 2"), read(erp), edit(sf, 1, golden.Website, "website 3"), deliver(sf), read(sf),
		}},
		"what was sent once and never arrived is not waited for for ever": {Seed: 30377, Late: true, Processes: 2, Steps: []simulation.Step{
			create(sf, 2, "phone 2"), by(1, read(erp)), create(sf, 1, "phone 3"),
			{Act: simulation.Fault, System: erp, Kind: simulation.HalfWritten},
			read(sf), by(1, deliver(erp)), edit(sf, 2, golden.Phone, ""),
		}},
		"a write that arrives after its successor is nobody's word in salesforce": {Seed: 9, Late: true, Processes: 1, Steps: []simulation.Step{
			create(erp, 1, "phone 1"), read(sf), read(erp), deliver(sf), deliver(erp), read(sf), read(erp),
			edit(erp, 1, golden.Phone, "phone 2"), read(erp), straggle(sf), deliver(sf),
			{Act: simulation.Wait, N: 120},
			edit(erp, 1, golden.Phone, "phone 3"), read(erp), deliver(sf), read(sf), read(erp),
			{Act: simulation.Land, System: sf},
		}},
		"a create that arrives after its successor is nobody's word in the erp": {Seed: 9, Late: true, Processes: 1, Steps: []simulation.Step{
			create(sf, 1, "phone 1"), read(sf), read(erp), straggle(erp), deliver(erp),
			{Act: simulation.Wait, N: 120},
			edit(sf, 1, golden.Phone, "phone 3"), read(sf), deliver(erp), read(sf), read(erp),
			{Act: simulation.Land, System: erp},
		}},
		"what died with its process is not waited for for ever": {Seed: 51313, Late: true, Processes: 2, Steps: []simulation.Step{
			create(sf, 2, "phone 2"), by(1, read(sf)), deliver(sf), by(1, read(erp)),
			{Act: simulation.Overflow, System: erp, N: 2},
			{Act: simulation.Crash, Process: 1, N: 12},
			by(1, deliver(erp)), edit(erp, 2, golden.Phone, "phone 9"),
		}},
		"a word that was overwritten before it was told does not make ours a person's": {Seed: 61003, Processes: 1, Steps: []simulation.Step{
			create(sf, 1, "phone 1"), read(sf), read(erp), deliver(sf), deliver(erp),
			{Act: simulation.Overflow, System: erp, N: 4},
			edit(sf, 1, golden.Phone, "phone 5"), edit(erp, 1, golden.Phone, "phone 6"),
			{Act: simulation.Overflow, System: sf, N: 4},
			{Act: simulation.FailStore, N: 59},
			read(erp), deliver(sf),
		}},
		"a scan that is asked for while one is running sees what that one has passed": {Seed: 80727, Late: true, Processes: 2, Steps: []simulation.Step{
			create(erp, 1, "phone 1"), read(erp), deliver(erp),
			{Act: simulation.Wait, N: 10},
			read(erp),
			{Act: simulation.Wait, N: 10},
			{Act: simulation.Overflow, System: erp, N: 4},
			by(1, read(erp)),
			{Act: simulation.Wait, N: 10},
			{Act: simulation.Lose, System: erp, N: 3},
			edit(erp, 1, golden.Phone, "phone 5"),
			{Act: simulation.FailStore, Process: 1, N: 34},
			by(1, read(erp)), edit(erp, 1, golden.Phone, "phone 7"),
		}},
		"an older reading does not heal what could not be taken in": {Seed: 71287, Processes: 1, Steps: []simulation.Step{
			create(erp, 1, "phone 1"), read(erp),
			{Act: simulation.Hold, System: erp},
			deliver(erp), edit(erp, 1, golden.Street, "street 3"),
			create(erp, 4, "phone 4"),
			{Act: simulation.Spoil, System: erp, Who: 1, Field: golden.Website},
			edit(erp, 1, golden.Phone, "phone 6"),
		}},
		"contacts of a customer that is made again are given to it": {Seed: 7184, Late: true, Processes: 1, Steps: []simulation.Step{
			create(sf, 3, "phone 3"), read(sf), read(erp), deliver(sf), deliver(erp),
			{Act: simulation.Create, System: erp, Who: 3, Person: 1, Value: "phone 5"},
			{Act: simulation.Delete, System: erp, Who: 3},
			create(erp, 3, "phone 14"),
		}},
		"a contact does not wait for a customer that is deleted": {Seed: 782, Late: true, Processes: 1, Steps: []simulation.Step{
			create(sf, 1, "phone 1"), create(sf, 2, "phone 2"),
			{Act: simulation.Create, System: sf, Who: 2, Person: 1, Value: "phone 5"},
			read(sf), read(erp), deliver(erp), deliver(sf), read(sf), read(erp),
			{Act: simulation.Move, System: sf, Who: 2, Person: 1, N: 1},
			{Act: simulation.Delete, System: erp, Who: 1},
			read(sf), deliver(erp),
		}},
		"contacts that a merge leaves behind follow, also when the customers were one already": {Seed: 110, Late: true, Processes: 1, Steps: []simulation.Step{
			create(sf, 2, "phone 2"),
			{Act: simulation.Create, System: sf, Who: 2, Person: 1, Value: "phone"},
			create(sf, 1, "phone 1"), read(sf), read(erp), deliver(sf), deliver(erp), leaving(sf, 1, 2), leaving(erp, 1, 2),
		}},
		"contacts whose customer was deleted are given to what a merge brings": {Seed: 110, Late: true, Processes: 1, Steps: []simulation.Step{
			create(sf, 1, "phone 1"),
			{Act: simulation.Create, System: sf, Who: 1, Person: 1, Value: "phone"},
			create(sf, 2, "phone 2"), read(sf), read(erp), deliver(sf), deliver(erp),
			{Act: simulation.Delete, System: erp, Who: 1},
			read(erp), deliver(erp), leaving(sf, 1, 2),
		}},
		"a merge that nobody told is one when it is found": {Seed: 91, Processes: 1, Steps: []simulation.Step{
			create(sf, 1, "phone 1"), create(sf, 2, "phone 2"), read(sf),
			{Act: simulation.Lose, System: sf, N: 4},
			leaving(sf, 1, 2),
		}},
		"a merge that is told together with its end leaves two": {Seed: 1328, Processes: 1, Steps: []simulation.Step{
			create(erp, 1, "phone 1"), create(erp, 2, "phone 2"), read(sf), read(erp), deliver(sf), deliver(erp), leaving(sf, 1, 2),
			{Act: simulation.Undelete, System: sf, Who: 2},
		}},
		"a write that arrives late is ours, also where it is met by reading what somebody else has changed": {Seed: 1795325732, Late: true, Processes: 1, Steps: []simulation.Step{
			create(sf, 1, "phone 1"), read(sf), read(erp), deliver(sf), deliver(erp),
			{Act: simulation.Fault, System: sf, Kind: simulation.LoseRequest},
			straggle(sf), deliver(sf),
			{Act: simulation.Say, Who: 1, Field: golden.Phone, Value: "phone 9"},
			{Act: simulation.Wait, N: 120},
			deliver(sf),
			{Act: simulation.Wait, N: 10},
			edit(erp, 1, golden.Phone, "phone 11"), read(erp), edit(sf, 1, golden.Phone, "phone 14"), deliver(sf),
		}},
		"a deletion that we had noted, and perhaps made, need not be a person's": {Seed: 1795325168, Late: true, Processes: 1, Deletes: "erp,salesforce", Steps: []simulation.Step{
			create(erp, 1, "phone of 1"),
			{Act: simulation.Create, System: erp, Who: 1, Person: 1, Value: "phone"},
			create(sf, 1, "phone 1"), read(sf), read(erp), deliver(sf),
			{Act: simulation.LoseCommit, N: 3},
			{Act: simulation.Delete, System: sf, Who: 1},
			read(sf), deliver(sf), deliver(erp),
			{Act: simulation.Delete, System: erp, Who: 1, Person: 1},
		}},
		"a contact of a customer that waits for a person stays with it": {Seed: 1795325448, Late: true, Processes: 1, Steps: []simulation.Step{
			create(sf, 2, "phone of 2"),
			{Act: simulation.Create, System: sf, Who: 2, Person: 1, Value: "phone"},
			create(erp, 1, "phone 1"), read(sf),
			{Act: simulation.Spoil, System: erp, Who: 1, Field: golden.Website},
			deliver(sf), read(erp), deliver(erp),
			{Act: simulation.Merge, System: erp, Who: 1, N: 2, Kind: simulation.TakesContacts},
			{Act: simulation.Undelete, System: erp, Who: 2},
		}},
		"a record that is heard of while its customer is merged goes with it when the merge is taken back": {Seed: 1795404070, Late: true, Processes: 1, Steps: []simulation.Step{
			create(sf, 2, "phone of 2"), create(erp, 1, "phone 1"), read(sf),
			{Act: simulation.Fault, System: erp, Kind: simulation.LoseAnswer},
			read(erp), deliver(erp),
			{Act: simulation.Crash, N: 38},
			deliver(sf),
			{Act: simulation.Merge, System: sf, Who: 1, N: 2, Kind: simulation.TakesContacts},
			deliver(sf),
			{Act: simulation.Undelete, System: sf, Who: 2},
			read(erp),
		}},
		"a record that is made while its customer is merged belongs to whom it was merged into": {Seed: 9, Late: true, Processes: 1, Steps: []simulation.Step{
			create(sf, 1, "phone 1"), create(sf, 2, "phone 2"), read(sf), read(erp), leaving(sf, 1, 2),
			{Act: simulation.Meanwhile, System: erp, Kind: simulation.WhileWriting, After: true, Then: &simulation.Step{Act: simulation.Read, System: sf}},
			deliver(erp),
		}},
		"a record that is made while its customer is merged goes with it when the merge is taken back": {Seed: 9, Late: true, Processes: 1, Steps: []simulation.Step{
			create(sf, 1, "phone 1"), create(sf, 2, "phone 2"), read(sf), read(erp), leaving(sf, 1, 2),
			{Act: simulation.Meanwhile, System: erp, Kind: simulation.WhileWriting, After: true, Then: &simulation.Step{Act: simulation.Read, System: sf}},
			deliver(erp), read(sf), read(erp), deliver(erp), deliver(sf),
			{Act: simulation.Undelete, System: sf, Who: 2},
		}},
		"a write that arrives late is ours, also where a reading is all that tells of it": {Seed: 1795325732, Late: true, Processes: 1, Steps: []simulation.Step{
			create(sf, 1, "phone 1"), read(sf), read(erp), deliver(sf),
			{Act: simulation.Expire, System: sf},
			{Act: simulation.Say, Who: 1, Field: golden.Phone, Value: "phone 9"},
			straggle(sf), deliver(sf), deliver(erp),
			{Act: simulation.Wait, N: 120},
			edit(erp, 1, golden.Phone, "phone 11"), read(erp), edit(sf, 1, golden.Phone, "phone 14"), deliver(sf),
		}},
		"a contact of a customer that is gone before it could be read belongs to whom it belonged before": {Seed: 1795600427, Late: true, Processes: 1, Steps: []simulation.Step{
			create(sf, 2, "phone of 2"),
			{Act: simulation.Create, System: sf, Who: 2, Person: 1, Value: "phone"},
			create(sf, 1, "phone 1"),
			{Act: simulation.Spoil, System: sf, Who: 1, Field: golden.Website},
			read(sf),
			{Act: simulation.Merge, System: sf, Who: 1, N: 2, Kind: simulation.TakesContacts},
			{Act: simulation.Delete, System: sf, Who: 1},
			{Act: simulation.Undelete, System: sf, Who: 2},
		}},
		"a contact of a customer that nobody ever told of, and that is gone, belongs to whom it belonged before": {Seed: 1795600427, Late: true, Processes: 1, Steps: []simulation.Step{
			create(sf, 2, "phone of 2"),
			{Act: simulation.Create, System: sf, Who: 2, Person: 1, Value: "phone"},
			read(sf), read(erp), deliver(sf), deliver(erp),
			{Act: simulation.Lose, System: sf, N: 1},
			create(sf, 1, "phone 1"),
			{Act: simulation.Move, System: sf, Who: 2, Person: 1, N: 1},
			{Act: simulation.Lose, System: sf, N: 1},
			{Act: simulation.Delete, System: sf, Who: 1},
		}},
		"an edit that the feed has not told is not written over": {Seed: 9, Processes: 1, Steps: []simulation.Step{
			create(erp, 1, "phone 1"), read(sf), read(erp), deliver(sf), deliver(erp), read(sf), read(erp),
			{Act: simulation.Hold, System: sf},
			edit(sf, 1, golden.Phone, "phone 2"), edit(erp, 1, golden.Phone, "phone 3"), read(erp), deliver(sf),
		}},
		"an edit after a write of which nobody knows is not written over": {Seed: 9, Late: true, Processes: 1, Steps: []simulation.Step{
			create(erp, 1, "phone 1"), read(sf), read(erp), deliver(sf), deliver(erp), read(sf), read(erp),
			{Act: simulation.Hold, System: sf},
			edit(erp, 1, golden.Phone, "phone 2"), read(erp),
			{Act: simulation.Fault, System: sf, Kind: simulation.Unsure},
			deliver(sf), edit(sf, 1, golden.Phone, "phone 3"),
			{Act: simulation.Wait, N: 120},
			deliver(sf),
		}},
		"what gave way to a customer that had been merged into it follows it when that is back": {Seed: 820001456, Late: true, Processes: 1, Steps: []simulation.Step{
			create(sf, 1, "phone of 1"), create(sf, 2, "phone 2"), read(sf), read(erp),
			{Act: simulation.Merge, System: sf, Who: 2, N: 1, Kind: simulation.LeavesContacts, Value: "phone of both"},
			deliver(erp), deliver(sf),
			{Act: simulation.Undelete, System: sf, Who: 1},
			leaving(sf, 1, 2),
		}},
		"a record that we made, that was merged away unheard and made again, holds no word of a person": simulation.Plan(820001229),
		"a contact that a person deletes while we delete its customer may have gone with it": {Seed: 820002097, Late: true, Processes: 1, Deletes: "erp,salesforce", Steps: []simulation.Step{
			create(erp, 1, "phone of 1"),
			{Act: simulation.Create, System: erp, Who: 1, Person: 1, Value: "phone"},
			read(sf), read(erp), deliver(sf), deliver(erp),
			{Act: simulation.Delete, System: sf, Who: 1},
			{Act: simulation.Delete, System: erp, Who: 1, Person: 1},
			read(sf), deliver(erp),
		}},
		"what a record does not hold that was made without it says nothing": {Seed: 820000259, Late: true, Processes: 1, Steps: []simulation.Step{
			create(erp, 1, "phone 1"),
			{Act: simulation.Fault, System: sf, Kind: simulation.LoseAnswer},
			{Act: simulation.Meanwhile, System: sf, Kind: simulation.WhileWriting, Then: &simulation.Step{Act: simulation.Deliver, System: erp}},
			read(erp), edit(erp, 1, golden.Email, "email 8"), read(sf), deliver(sf),
			{Act: simulation.Wait, N: 1},
			deliver(sf),
		}},
		"what was not sent yet is not taken for cleared where an earlier attempt is found": {Seed: 9, Processes: 1, Steps: []simulation.Step{
			create(erp, 1, "phone 1"), read(sf), read(erp),
			{Act: simulation.Fault, System: sf, Kind: simulation.LoseAnswer},
			edit(erp, 1, golden.Email, "email 4"), deliver(sf), read(erp),
			{Act: simulation.Wait, N: 10},
			deliver(sf),
		}},
		"who comes back from a merge and is deleted within the same second is deleted": {Seed: 820001284, Coarse: true, Processes: 1, Deletes: "erp,salesforce", Steps: []simulation.Step{
			create(sf, 1, "phone of 1"), create(sf, 2, "phone 2"), read(sf), read(erp), deliver(erp), deliver(sf), read(sf), read(erp),
			{Act: simulation.Wait, N: 10},
			leaving(sf, 2, 1), read(sf),
			{Act: simulation.Undelete, System: sf, Who: 1},
			{Act: simulation.Delete, System: sf, Who: 1},
		}},
		"who comes back from a merge and is deleted before the feed is read is deleted": {Seed: 820001284, Late: true, Processes: 1, Deletes: "erp,salesforce", Steps: []simulation.Step{
			create(erp, 1, "phone of 1"), create(erp, 2, "phone 2"), read(sf), read(erp), deliver(erp), deliver(sf), read(sf), read(erp), leaving(erp, 2, 1), read(erp),
			{Act: simulation.Undelete, System: erp, Who: 1},
			{Act: simulation.Delete, System: erp, Who: 1},
		}},
		"a merge that is heard of after its record was deleted for itself is none": simulation.Plan(820001284),
		"an old reading does not take a word back": {Seed: 21, Processes: 2, Steps: []simulation.Step{
			create(sf, 1, "phone 1"), read(sf), read(erp), deliver(sf), deliver(erp), edit(erp, 1, golden.Phone, ""), read(erp), deliver(sf),
		}},
	}
}

// same is a story in which two people type the same, one of whom nobody has heard of before it is delivered to the other; in between
// comes what the step says.
func same(trouble simulation.Step) simulation.Story {
	const sf, erp = "salesforce", "erp"
	return simulation.Story{Seed: 1796101493, Late: true, Processes: 1, Steps: []simulation.Step{
		create(erp, 1, "phone 1"), read(sf), read(erp), deliver(sf), deliver(erp), read(sf), read(erp), deliver(sf), deliver(erp),
		{Act: simulation.Wait, N: 10},
		edit(sf, 1, golden.Phone, "phone 2"), edit(erp, 1, golden.Phone, "phone 2"), read(sf), trouble, deliver(erp),
	}}
}

// TestNoted is about what was noted to be sent, and perhaps was not.
func TestNoted(t *testing.T) {
	t.Parallel()
	stage, err := simulation.NewStage(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, stage.Close()) }()
	play := func(story simulation.Story, bug simulation.Bug) simulation.Result {
		res, err := simulation.Play(t.Context(), stage, story, bug)
		require.NoError(t, err)
		return res
	}
	most := 80
	if testing.Short() {
		most = 15
	}
	for n := 1; n <= most; n++ {
		res := play(same(simulation.Step{Act: simulation.Crash, N: n}), simulation.None)
		require.False(t, res.Failed(), "a process that dies at any point, here %d: nobody knows what it has sent\n%s: %s\n%s", n, res.Rule, res.Detail, res.History)
	}
	silent := same(simulation.Step{Act: simulation.LoseCommit, N: 1})
	res := play(silent, simulation.None)
	require.False(t, res.Failed(), "a process that lives knows what it has not sent\n%s: %s\n%s", res.Rule, res.Detail, res.History)
	require.Equal(t, "no word of a person is lost", play(silent, simulation.KeepNote).Rule, "and is not excused")
}

func TestStories(t *testing.T) {
	t.Parallel()
	stage, err := simulation.NewStage(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, stage.Close()) }()
	for name, story := range stories() {
		t.Run(name, func(t *testing.T) {
			res, err := simulation.Play(t.Context(), stage, story, simulation.None)
			require.NoError(t, err)
			require.False(t, res.Failed(), "%s\n%s: %s\n%s", story, res.Rule, res.Detail, res.History)
		})
	}
}
