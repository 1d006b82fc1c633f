//! Lists, places in the queue, reasons for waiting.

use super::*;

#[test]
fn a_list_is_newest_first_and_its_pages_are_the_whole() {
    let mut world = World::new();
    let mut tasks: Vec<TaskId> = (0..7).map(|_| world.submit()).collect();
    tasks.reverse();
    let mut listed = Vec::new();
    let mut before = None;
    loop {
        let page = world.ledger.list(TenantId::DEFAULT, &TaskFilter::default(), before, 3);
        assert!(page.tasks.len() <= 3);
        listed.extend(page.tasks.iter().map(|task| task.id));
        before = page.next_before;
        if before.is_none() {
            break;
        }
        world.submit();
    }
    assert_eq!(listed, tasks, "tasks submitted meanwhile do not move the pages");
}

#[test]
fn a_page_that_holds_the_last_task_has_no_next() {
    let mut world = World::new();
    world.submit();
    world.submit();
    let page = world.ledger.list(TenantId::DEFAULT, &TaskFilter::default(), None, 2);
    assert_eq!((page.tasks.len(), page.next_before), (2, None));
    let page = world.ledger.list(TenantId::DEFAULT, &TaskFilter::default(), Some(0), 2);
    assert_eq!(page, TaskPage::default());
}

#[test]
fn a_list_shows_what_its_filter_admits_and_nothing_of_other_tenants() {
    let mut world = World::with_worker(1);
    let done = world.completed();
    world.now(5);
    let pending = world.submit();
    world.submit_with(|new| new.tenant = TenantId(1));
    let listed = |filter: TaskFilter| -> Vec<TaskId> {
        let page = world.ledger.list(TenantId::DEFAULT, &filter, None, 10);
        page.tasks.iter().map(|task| task.id).collect()
    };
    assert_eq!(listed(TaskFilter::default()), [pending, done]);
    assert_eq!(listed(TaskFilter { status: Some(TaskStatus::Completed), ..Default::default() }), [done]);
    assert_eq!(listed(TaskFilter { since: Some(START.plus(5)), ..Default::default() }), [pending]);
    let other = CircuitId::new("other").unwrap();
    assert!(listed(TaskFilter { circuit: Some(other), ..Default::default() }).is_empty());
}

#[test]
fn a_task_is_found_by_its_own_tenant_only() {
    let mut world = World::new();
    let task = world.submit();
    assert!(world.ledger.task_of(TenantId::DEFAULT, task).is_some());
    assert!(world.ledger.task_of(TenantId(1), task).is_none());
}

#[test]
fn the_place_in_the_queue_counts_what_goes_first() {
    let mut world = World::with_worker(1);
    let low = world.submit_with(|new| new.priority = Priority::Low);
    let first = world.submit();
    let second = world.submit();
    let high = world.submit_with(|new| new.priority = Priority::High);
    let place = |task| world.ledger.queue_position(world.task(task));
    assert_eq!([high, first, second, low].map(place), [Some(0), Some(1), Some(2), Some(3)]);
    world.grant(high);
    let place = |task| world.ledger.queue_position(world.task(task));
    assert_eq!([high, first].map(place), [None, Some(0)]);
}

#[test]
fn a_waiting_task_says_what_it_waits_for() {
    let mut world = World::new();
    let task = world.submit();
    let waits_for = |world: &World| world.ledger.waiting_for(world.task(task), world.now);
    assert_eq!(waits_for(&world), Some(WaitingFor::CircuitKey(circuit().id)));
    world.done(Command::RegisterCircuit(Box::new(circuit())));
    assert_eq!(waits_for(&world), Some(WaitingFor::WorkerForCircuit(circuit().id)));
    world.register(worker(), 1, 11, 1);
    assert_eq!(waits_for(&world), Some(WaitingFor::FreeWorker));
    world.grant(task);
    assert_eq!(waits_for(&world), None);
    world.fail(task, FailureKind::ProverError);
    let until = world.ledger.next_backoff_end().unwrap();
    assert_eq!(waits_for(&world), Some(WaitingFor::Backoff { until }));
    world.now(until.0 - world.now.0);
    assert_eq!(waits_for(&world), Some(WaitingFor::FreeWorker));
    world.done(Command::DrainWorker { worker: worker(), incarnation: Incarnation(1) });
    assert_eq!(waits_for(&world), Some(WaitingFor::WorkerForCircuit(circuit().id)));
}

#[test]
fn counts_follow_the_status() {
    let mut world = World::with_worker(2);
    world.completed();
    let task = world.submit();
    world.submit();
    world.grant(task);
    let counts = TaskStatus::ALL.map(|status| world.ledger.count(status));
    assert_eq!(counts, [1, 1, 0, 1, 0, 0]);
    assert_eq!(world.ledger.open_input_bytes(), 20);
}
