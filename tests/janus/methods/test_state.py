"""State that methods declare: what is saved, what is restored, what is refused."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

from janus.errors import DataError
from janus.methods.base.method import Method
from janus.methods.base.state import Stateful, declared, restored, saved
from janus.nn.heads import Prototypes
from tests.janus.methods.by_hand import started, train


class Base(Stateful):
    state = "values"
    training_state = "optimizer"
    keeps = "values"

    def __init__(self):
        self.values = [torch.zeros(2)]
        self.optimizer = None
        self.calls = []

    def _restored(self):
        self.calls.append("restored")

    def _start_training(self, task):
        self.calls.append("started")
        self.optimizer = nn.Linear(1, 1)


class Derived(Base):
    state = "more"
    keeps = "more"

    def __init__(self):
        super().__init__()
        self.more = {"weight": nn.Parameter(torch.ones(3))}


def test_a_class_adds_its_state_to_that_of_its_bases_and_says_all_that_it_keeps():
    assert declared(Derived, "state") == ("values", "more")
    assert set(Derived().state_dict()) == {"values", "more", "optimizer"}
    assert set(Derived().kept()) == {"more"}


def test_what_training_makes_is_loaded_after_it_and_inside_a_task_only():
    source = Derived()
    source.values, source.optimizer = [torch.ones(2)], nn.Linear(1, 1)
    state = source.state_dict()
    between, inside = Derived(), Derived()
    between.load_state_dict(state, None)
    assert between.calls == ["restored"] and between.optimizer is None
    inside.load_state_dict(state, task=object())
    assert inside.calls == ["restored", "started"]
    assert torch.equal(inside.optimizer.weight, source.optimizer.weight)
    assert torch.equal(between.values[0], torch.ones(2))


def test_a_state_that_lacks_a_name_is_refused_in_one_line():
    state = Derived().state_dict()
    del state["more"]
    with pytest.raises(DataError, match=r"Derived has no 'more'.*run the cell again") as told:
        Derived().load_state_dict(state, None)
    assert "\n" not in str(told.value)


def test_objects_load_and_stay_while_tensors_are_replaced():
    prototypes, parameter = Prototypes(2, torch.device("cpu")), nn.Parameter(torch.zeros(2))
    stored = Prototypes(2, torch.device("cpu"))
    stored.add(torch.eye(2), torch.tensor([0, 1]))
    assert restored(prototypes, saved(stored)) is prototypes
    assert torch.equal(prototypes.means, torch.eye(2))
    value = torch.ones(2)
    made = restored(parameter, value)
    assert isinstance(made, nn.Parameter) and made.requires_grad
    value.zero_()
    assert torch.equal(made.detach(), torch.ones(2))
    assert restored(None, value) is value and restored([], [1, [2]]) == [1, [2]]


def test_a_restored_method_of_other_code_is_refused_before_it_predicts():
    method, stream = started("ncm")
    train(method, stream.tasks[0])
    state = method.state_dict()
    del state["classes"]
    with pytest.raises(DataError, match="'classes'"):
        started("ncm")[0].load_state_dict(state, None)


def test_an_author_meets_ten_members_at_most():
    own = [name for name in vars(Method) if not name.startswith("_")]
    assert len(own) <= 10, own
    required = {name for name, value in inspect.getmembers(Method) if _abstract(value)}
    assert required == {"begin_task", "predict"}


def _abstract(value):
    return getattr(value, "__isabstractmethod__", False)
