"""What other libraries call the attributes of a trainer and of its results."""

_FIT = "write trainer.fit(data, epochs=...)"
_RESULT = "trainer.fit returns the history: history = trainer.fit(...)"

TRAINER = {
    "lr": "write trainer.learning_rate",
    "rate": "write trainer.learning_rate",
    "param_groups": "write trainer.learning_rates, by the pattern of a group",
    "set_lr": "write trainer.learning_rate = rate",
    "scheduler": "a schedule is the optimizer's lr=; trainer.learning_rate is what leads it",
    "callbacks": "write for epoch in trainer.epochs(data, ...): what is to be done after each",
    "train": _FIT + ", or trainer.step(...) for one batch",
    "train_step": "write trainer.step(...)",
    "train_on_batch": "write trainer.step(...)",
    "fit_generator": "trainer.fit takes an iterable of batches",
    "test": "write trainer.evaluate(data)",
    "validate": "write trainer.evaluate(data)",
    "eval": "write trainer.evaluate(data)",
    "losses": _RESULT,
    "loss": "trainer.step and trainer.evaluate return the loss",
    "batch_size": "write trainer.fit(data, batch_size=...)",
    "weights": "write trainer.parameters",
    "params": "write trainer.parameters",
    "get_weights": "write dict(trainer.parameters)",
    "set_weights": "write trainer.parameters[name] = array",
    "state_dict": "trainer.parameters and trainer.state hold the values; trainer.save writes them",
    "load_state_dict": "write trainer.load(path), or trainer.parameters[name] = array",
    "save_weights": "write trainer.save(path, parameters_only=True)",
    "load_weights": "write trainer.load(path)",
    "optimizer": "write trainer.learning_rate, or trainer.state for the optimizer's state",
    "model": "write trainer.parameters and trainer.predict",
    "zero_grad": "gradients are computed anew in every step",
    "backward": "trainer.step computes gradients and updates",
    "build": "write program.build(path), with the program that was compiled",
    "seed": "the seed is given when a program is compiled: program.compile(seed=0)",
    "threads": "threads are given when a program is compiled: program.compile(threads=2)",
    "summary": "print(trainer.parameters) lists the parameters",
}

HISTORY = {
    "history": "the history is a dict of columns: history['loss']",
    "loss": "write history['loss']",
    "losses": "write history['loss']",
    "accuracy": "write history['accuracy']",
    "val_loss": "write history['validation_loss']",
    "validation_loss": "write history['validation_loss']",
    "epoch": "a column has one number per epoch: len(history['loss'])",
    "best": "write history.best_epoch",
    "columns": "write list(history)",
}

FUNCTION = {
    "grad": "gc.grad builds derivatives of tensors, before they are compiled",
    "backward": "gc.grad builds derivatives of tensors, before they are compiled",
    "fit": "gc.training(loss, optimizer).compile() gives what can be trained",
    "predict": "call the function: f(name=array)",
    "forward": "call the function: f(name=array)",
    "arguments": "write f.inputs",
    "weights": "write f.parameters",
    "save": "gc.training(loss, optimizer).compile() gives what can be saved",
}

PROGRAM = {
    "fit": "write trainer = program.compile(), then trainer.fit(...)",
    "train": "write trainer = program.compile(), then trainer.fit(...)",
    "step": "write trainer = program.compile(), then trainer.step(...)",
    "evaluate": "write trainer = program.compile(), then trainer.evaluate(...)",
    "predict": "write trainer = program.compile(), then trainer.predict(...)",
    "save": "write trainer = program.compile(), then trainer.save(path)",
    "load": "write trainer = program.compile(), then trainer.load(path)",
    "parameters": "write trainer = program.compile(), then trainer.parameters",
    "state": "write trainer = program.compile(), then trainer.state",
    "lr": "write trainer = program.compile(), then trainer.learning_rate",
    "export": "write program.build(path)",
}
