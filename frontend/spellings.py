"""What PyTorch, Keras and NumPy call the things of gradc: one table per kind of place.

    TENSOR, MODULE, OPTIMIZER   attributes and methods that do not exist, and what to write instead
    NAMESPACES                  functions and classes of other libraries, by the name of our module
    ARGUMENTS, ARGUMENTS_OF     argument names that are taken as well: everywhere, of some functions
    REFUSED_ARGUMENTS           argument names that mean nothing here, and why

A name that is in no table gets the names that come near it.
"""

from __future__ import annotations

_IMMUTABLE = "tensors are values and never change: use the tensor itself"
_RUN = "a tensor has values when it is compiled: gc.compile(x)(...) gives NumPy arrays"
_TARGET = 'where a program runs is said when it is compiled: gc.compile(x, target="cpu")'
_TRAINED = (
    "parameters are trained, inputs are not; stop_gradient stops a derivative, and gc.frozen "
    "keeps parameters as they are"
)
_MODE = (
    "a model knows its mode by itself: fit and step train, evaluate and predict do not; "
    "gc.compile(..., training=True) for a function"
)
_STEP = (
    "write program = gc.training(loss, optimizer), trainer = program.compile(), then trainer.fit "
    "or trainer.step"
)
_VALUES_DEPEND = "a shape that depends on values does not compile; use gc.where"

TENSOR = {
    "backward": "gc.grad(loss, parameters) gives gradients; to train, " + _STEP,
    "grad": "gc.grad(loss, [x]) gives the gradient of a loss",
    "grad_fn": "print(gc.graph(x)) shows what computes a tensor",
    "requires_grad": _TRAINED,
    "requires_grad_": _TRAINED,
    "retain_grad": "gc.grad(loss, [x]) gives the gradient of any tensor",
    "data": "write gc.stop_gradient(x), or compile the tensor to get its values",
    "item": _RUN,
    "numpy": _RUN,
    "tolist": _RUN,
    "eval": _RUN,
    "resize": "write x.reshape(...)",
    "repeat": "PyTorch's repeat(2, 3) is gc.tile(x, (2, 3)); NumPy's is gc.repeat(x, n, axis)",
    "H": "write x.mT",
    "adjoint": "write x.mT",
    "type": "write x.dtype, or x.astype(dtype) to convert",
    "cpu": _TARGET,
    "cuda": _TARGET,
    "device": _TARGET,
    "is_contiguous": "the compiler chooses how a tensor lies in memory",
    "stride": "the compiler chooses how a tensor lies in memory",
    "strides": "the compiler chooses how a tensor lies in memory",
    "copy": _IMMUTABLE,
    "rank": "write x.ndim",
    "element_size": "write gc.finfo(x.dtype).bits // 8 (gc.iinfo for integers)",
    "itemsize": "write gc.finfo(x.dtype).bits // 8 (gc.iinfo for integers)",
    "values": "max, min and sort give the values alone; argmax, argmin and argsort the positions",
    "indices": "max, min and sort give the values alone; argmax, argmin and argsort the positions",
    "masked_select": _VALUES_DEPEND,
    "nonzero": _VALUES_DEPEND,
    "unique": _VALUES_DEPEND,
    "new_zeros": "write gc.zeros(shape, x.dtype)",
    "new_ones": "write gc.ones(shape, x.dtype)",
    "new_full": "write gc.full(shape, value, x.dtype)",
    "new_empty": "write gc.empty(shape, x.dtype)",
    "new_tensor": "write gc.constant(values, x.dtype)",
    "unique_all": _VALUES_DEPEND,
    "unique_consecutive": _VALUES_DEPEND,
    "unique_counts": _VALUES_DEPEND,
    "unique_inverse": _VALUES_DEPEND,
    "unique_values": _VALUES_DEPEND,
    "partition": "write gc.sort(x), or gc.topk(x, k) for few",
    "argpartition": "write gc.argsort(x), or gc.topk(x, k).indices for few",
    "lexsort": "sort by the last key first: gc.argsort is stable",
    "sort_complex": "write gc.sort(x)",
    "ptp": "write x.max(axis) - x.min(axis)",
    "name": "only parameters and other states have a name; print(x) shows what computes a tensor",
}

MODULE = {
    "train": _MODE,
    "eval": _MODE,
    "to": _TARGET,
    "cpu": _TARGET,
    "cuda": _TARGET,
    "device": _TARGET,
    "float": "layers take dtype=gc.float32",
    "double": "layers take dtype=gc.float64",
    "half": "layers take dtype=gc.float16",
    "bfloat16": "layers take dtype=gc.bfloat16",
    "state_dict": "trainer.parameters and trainer.state hold the values; trainer.save writes them",
    "load_state_dict": "write trainer.load(path), or trainer.parameters[name] = array",
    "get_weights": "trainer.parameters holds the values",
    "set_weights": "write trainer.parameters[name] = array",
    "trainable_weights": "write module.parameters()",
    "weights": "write module.parameters()",
    "zero_grad": "gradients are computed anew in every step",
    "requires_grad_": _TRAINED,
    "register_parameter": "assign it: self.name = gc.parameter(name, shape)",
    "register_buffer": "assign it: self.name = gc.state(name, shape)",
    "register_module": "write module.add_module(name, layer)",
    "compile": "write gc.training(loss, optimizer).compile()",
    "fit": _STEP,
    "predict": "write gc.compile(model(x)), or trainer.predict for outputs of a training program",
    "evaluate": _STEP + ", and trainer.evaluate",
    "call": "the method that computes is named forward",
    "build": "program.build makes a binary, of a program made by gc.training",
    "summary": "print(module) shows its layers, module.named_parameters() its parameters",
    "add": "write module.append(layer)",
    "apply": "for layer in module.modules(): ...",
}

OPTIMIZER = {
    "step": _STEP,
    "zero_grad": "gradients are computed anew in every step",
    "minimize": _STEP,
    "apply_gradients": _STEP,
    "param_groups": "options of some parameters: groups=[optim.group(pattern, lr=...)]",
    "state_dict": "trainer.save writes the optimizer's state with the parameters",
    "load_state_dict": "trainer.load reads the optimizer's state with the parameters",
    "learning_rate": "an optimizer's option is named lr; trainer.learning_rate is the rate in use",
    "state": "trainer.state holds the optimizer's state",
}

_FUNCTIONS = {
    "asanyarray": "write gc.asarray(values)",
    "placeholder": "write gc.input(name, shape)",
    "Input": "write gc.input(name, shape)",
    "Parameter": "write gc.parameter(name, shape, init=...)",
    "Variable": "write gc.parameter(name, shape, init=...)",
    "rand": "write gc.random.uniform(shape)",
    "randn": "write gc.random.normal(shape)",
    "rand_like": "write gc.random.uniform(x.shape)",
    "randn_like": "write gc.random.normal(x.shape)",
    "randint": "write gc.random.randint(low, high, shape)",
    "manual_seed": "the seed is given when a program is compiled: gc.compile(x, seed=0)",
    "no_grad": "nothing is recorded: gc.grad builds derivatives where it is called",
    "inference_mode": "nothing is recorded: gc.grad builds derivatives where it is called",
    "enable_grad": "nothing is recorded: gc.grad builds derivatives where it is called",
    "set_grad_enabled": "nothing is recorded: gc.grad builds derivatives where it is called",
    "autograd": "write gc.grad(y, wrt), gc.vjp, gc.jvp, gc.hessian; @gc.custom_gradient",
    "custom_vjp": "write @gc.custom_gradient: the function returns (y, pullback)",
    "custom_jvp": "write @gc.custom_gradient: the function returns (y, pullback)",
    "remat": "write gc.checkpoint(fn)",
    "fori_loop": "write gc.scan(fn, init, length=n)",
    "lax": "loops and branches are gc.scan, gc.while_loop, gc.cond, gc.map",
    "vectorize": "write gc.vmap(fn)",
    "value_and_grad": 'write {"value": y, "gradient": gc.grad(y, wrt)}',
    "jit": "write gc.compile(tensors)",
    "device": _TARGET,
    "cuda": _TARGET,
    "save": "write trainer.save(path)",
    "load": "write trainer.load(path)",
    "view": "write gc.reshape(x, shape)",
    "rollaxis": "write gc.moveaxis(x, source, destination)",
    "t": "write x.T",
    "average": "write gc.mean(x, axis)",
    "nanmax": "write gc.max(gc.where(gc.isnan(x), -np.inf, x), axis)",
    "nanmin": "write gc.min(gc.where(gc.isnan(x), np.inf, x), axis)",
    "nanvar": "write gc.nanmean((x - gc.nanmean(x, axis, keepdims=True)) ** 2, axis)",
    "nanstd": "write gc.nanmean((x - gc.nanmean(x, axis, keepdims=True)) ** 2, axis) ** 0.5",
    "cbrt": "write gc.sign(x) * gc.abs(x) ** (1 / 3)",
    "geomspace": "write gc.exp(gc.linspace(gc.log(start), gc.log(stop), num))",
    "polyval": "write (coefficients * x[..., None] ** np.arange(n)[::-1]).sum(-1) for n of them",
    "partition": "write gc.sort(x), or gc.topk(x, k) for few",
    "argpartition": "write gc.argsort(x), or gc.topk(x, k).indices for few",
    "upsample": "write gc.interpolate(x, size, scale_factor, mode)",
    "upsample_nearest": 'write gc.interpolate(x, size, scale_factor, mode="nearest")',
    "upsample_bilinear": 'gc.interpolate(x, size, mode="bilinear", align_corners=True)',
    "mod": "write gc.remainder(x, y)",
    "fabs": "write gc.abs(x)",
    "swish": "write gc.silu(x)",
    "around": "write gc.round(x)",
    "invert": "write gc.bitwise_invert(x)",
    "left_shift": "write gc.bitwise_left_shift(x, n)",
    "right_shift": "write gc.bitwise_right_shift(x, n)",
    "masked_select": _VALUES_DEPEND,
    "nonzero": _VALUES_DEPEND,
    "argwhere": _VALUES_DEPEND,
    "unique_consecutive": _VALUES_DEPEND,
    "unique": _VALUES_DEPEND,
    "float": "write gc.float32",
    "double": "write gc.float64",
    "half": "write gc.float16",
    "int": "write gc.int32",
    "long": "write gc.int64",
    "short": "write gc.int16",
    "byte": "write gc.uint8",
    "normal": "write gc.random.normal(shape, mean, std)",
    "uniform": "write gc.random.uniform(shape, low, high)",
    "Size": "a shape is a tuple",
    "get_default_dtype": "it is gc.float32: numbers without a dtype become it",
    "set_default_dtype": "it is gc.float32; inputs, parameters and layers take dtype=",
    "set_default_device": _TARGET,
    "get_num_threads": "threads are an argument of a compiled program: gc.compile(x, threads=4)",
    "set_num_threads": "threads are an argument of a compiled program: gc.compile(x, threads=4)",
    "utils": "trainer.fit takes any iterable of batches, PyTorch's DataLoader too",
    "Module": "write gc.nn.Module",
    "keras": "layers are in gc.nn, optimizers in gc.optim",
    "functional": "write gc.nn.functional",
    "sgd": "write gc.optim.SGD(lr=...)",
}

_LINEAR_ALGEBRA = {
    "solve_ex": "write linalg.solve(A, B)",
    "inv_ex": "write linalg.inv(A)",
    "cholesky_ex": "write linalg.cholesky(A): where A is not positive definite it gives NaN",
    "lu_factor": "write linalg.lu(A), or linalg.solve(A, B) for systems",
    "cond": "write linalg.norm(A) * linalg.norm(linalg.inv(A))",
    "pinv": "of full rank: linalg.lstsq(A, gc.eye(m)).solution",
}

_CONVOLUTION = "(in_channels, out_channels, kernel_size); channels come before the spatial axes"

_LAYERS = {
    "Dense": "write nn.Linear(in_features, out_features)",
    "Conv1D": f"write nn.Conv1d{_CONVOLUTION}",
    "Conv2D": f"write nn.Conv2d{_CONVOLUTION}",
    "Conv3D": f"write nn.Conv3d{_CONVOLUTION}",
    "Conv2DTranspose": f"write nn.ConvTranspose2d{_CONVOLUTION}",
    "DepthwiseConv2D": "write nn.Conv2d(channels, channels, kernel_size, groups=channels)",
    **dict.fromkeys(
        "LazyLinear LazyConv1d LazyConv2d LazyConv3d LazyConvTranspose1d LazyConvTranspose2d "
        "LazyConvTranspose3d LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d LazyInstanceNorm1d "
        "LazyInstanceNorm2d LazyInstanceNorm3d".split(),
        "a layer is made with its extents; a tensor's shape is known while a model is written: "
        "nn.Linear(x.shape[-1], out_features)",
    ),
    "SyncBatchNorm": "a program runs in one process: write nn.BatchNorm1d, 2d or 3d",
    "Parameter": "write gc.parameter(name, shape, init=...)",
    "Buffer": "write gc.state(name, shape)",
    "LayerNormalization": "write nn.LayerNorm(shape)",
    "Activation": "write nn.ReLU(), nn.Tanh() and so on",
    "Input": "write gc.input(name, shape)",
    "Swish": "write nn.SiLU()",
    "BinaryCrossentropy": "write nn.BCELoss()",
    "CategoricalCrossentropy": "write nn.CrossEntropyLoss()",
    "BatchNormalization": (
        "write nn.BatchNorm1d, 2d or 3d; Keras' momentum is what the running statistics keep: "
        "1 - momentum here"
    ),
    "MaxPooling2D": "write nn.MaxPool2d(kernel_size); channels come before height and width",
    "AveragePooling2D": "write nn.AvgPool2d(kernel_size); channels come before height and width",
    "GlobalAveragePooling2D": "write nn.AdaptiveAvgPool2d(1), then nn.Flatten()",
    "GlobalMaxPooling2D": "write nn.AdaptiveMaxPool2d(1), then nn.Flatten()",
    "init": "write gc.init",
    "utils": "this version does not offer what PyTorch has there: gradients are not clipped",
    "parallel": _TARGET,
}

_OPTIMIZERS = {
    "lr_scheduler": (
        "a schedule goes where a number goes and counts optimizer steps, not epochs: "
        "lr=optim.schedule.step(start, step_size, gamma), and so on: help(optim.schedule)"
    ),
    "schedules": "write optim.schedule",
    "Optimiser": "write optim.Optimizer",
}

_STEPS = ", counted in optimizer steps, not epochs"

_SCHEDULES = {
    "StepLR": f"write optim.schedule.step(start, step_size, gamma){_STEPS}",
    "MultiStepLR": f"write optim.schedule.multi_step(start, milestones, gamma){_STEPS}",
    "LinearLR": (
        "write optim.schedule.linear_factor(start, start_factor, end_factor, total_iters) or "
        f"optim.schedule.warmup(schedule, steps){_STEPS}"
    ),
    "ConstantLR": f"write optim.schedule.constant_factor(start, factor, total_iters){_STEPS}",
    "ExponentialLR": f"write optim.schedule.exponential(start, gamma){_STEPS}",
    "PolynomialLR": f"write optim.schedule.polynomial(start, total_iters, power){_STEPS}",
    "CosineAnnealingLR": f"write optim.schedule.cosine(start, T_max, eta_min){_STEPS}",
    "CosineAnnealingWarmRestarts": (
        f"write optim.schedule.cosine_restarts(start, T_0, T_mult, eta_min){_STEPS}"
    ),
    "CyclicLR": f"write optim.schedule.cyclic(base_lr, max_lr, step_size_up){_STEPS}",
    "OneCycleLR": f"write optim.schedule.one_cycle(max_lr, total_steps){_STEPS}",
    "SequentialLR": f"write optim.schedule.sequential(schedules, milestones){_STEPS}",
    "ChainedScheduler": f"write optim.schedule.chained(schedules){_STEPS}",
    "ReduceLROnPlateau": "write lr=optim.schedule.plateau(start, factor, patience)",
    "LambdaLR": f"write optim.schedule.function(start, lr_lambda){_STEPS}",
    "MultiplicativeLR": (
        "write optim.schedule.function(start, lr_lambda), of which lr_lambda(t) is the whole "
        f"factor{_STEPS}"
    ),
    "LRScheduler": "write optim.schedule.Schedule",
    "CosineDecay": f"write optim.schedule.cosine(start, T_max, eta_min){_STEPS}",
    "ExponentialDecay": f"write optim.schedule.exponential(start, gamma){_STEPS}",
}

_CLIPPING = "an option of any optimizer: optim.Adam(lr=1e-3, clip_norm=1.0), or clip_value="
_UTILITIES = {
    "clip_grad_norm_": _CLIPPING,
    "clip_grad_norm": _CLIPPING,
    "clip_grad_value_": _CLIPPING,
    "parameters_to_vector": "write gc.concat([p.flatten() for p in model.parameters()])",
    "pack_padded_sequence": "write layer(x, lengths=lengths), of nn.RNN, nn.LSTM and nn.GRU",
    "pad_packed_sequence": "outputs are padded with zeros: layer(x, lengths=lengths)",
    "weight_norm": "this version does not offer it",
    "spectral_norm": "this version does not offer it",
    "pad_sequence": "this version does not offer it; arrays are padded before they are given",
}

_INITIALIZERS = {
    "glorot_uniform": "write init.xavier_uniform",
    "glorot_normal": "write init.xavier_normal",
    "he_uniform": "write init.kaiming_uniform",
    "he_normal": "write init.kaiming_normal",
    "random_normal": "write init.normal",
    "random_uniform": "write init.uniform",
    "truncated_normal": "write init.trunc_normal",
    "identity": "write init.eye",
}

_RANDOM = {
    "rand": "write random.uniform(shape)",
    "randn": "write random.normal(shape)",
    "standard_normal": "write random.normal(shape)",
    "random": "write random.uniform(shape)",
    "integers": "write random.randint(low, high, shape)",
    "choice": "write gc.take(x, random.randint(0, n, shape), axis=0)",
    "seed": "the seed is given when a program is compiled: gc.compile(x, seed=0)",
    "manual_seed": "the seed is given when a program is compiled: gc.compile(x, seed=0)",
    "default_rng": "the seed is given when a program is compiled: gc.compile(x, seed=0)",
    "Generator": "the seed is given when a program is compiled: gc.compile(x, seed=0)",
    "shuffle": "trainer.fit(shuffle=True) visits samples in a new order every epoch",
}

_DATA = {
    "DataLoader": "trainer.fit takes arrays and makes batches; it takes PyTorch's DataLoader too",
    "Dataset": "trainer.fit takes arrays, or any iterable of {input: array}",
    "TensorDataset": "trainer.fit takes arrays: fit({name: array})",
    "IterableDataset": "trainer.fit takes any iterable of {input: array} batches",
    "CIFAR10": "write data.cifar10(), or data.load_cifar10(folder)",
    "CIFAR100": "write data.cifar100(), or data.load_cifar100(folder)",
    "FashionMNIST": "write data.fashion_mnist()",
    "MNIST": "write data.mnist(), or data.load_idx(path)",
    "ImageFolder": "write data.load_images(folder)",
    "image_dataset_from_directory": "write data.load_images(folder, size=(height, width))",
    "Subset": "index the arrays: {name: array[rows]}",
    "ChainDataset": "chain the iterables of batches: itertools.chain(first, second)",
    "StackDataset": "trainer.fit takes arrays by name: fit({name: array, other: array})",
    "DatasetFolder": "write data.load_images(folder), or read arrays and give them to trainer.fit",
    "default_collate": "trainer.fit takes arrays; of single samples, np.stack makes one",
    "BatchSampler": "write trainer.fit(data, batch_size=...)",
    "SubsetRandomSampler": "index the arrays: {name: array[rows]}; trainer.fit shuffles",
    "DistributedSampler": "one process trains: trainer.fit(data) visits all of it",
    "batch": "write trainer.fit(data, batch_size=...)",
    "shuffle": "trainer.fit(shuffle=True) visits samples in a new order every epoch",
    "memmap": "write data.load_npy(path, memory_map=True)",
    "normalize": "write scaling = data.standard_scaling(train), then scaling(x)",
    "fetch_openml": "write data.load_csv(path, label=column) for a file that was fetched",
    "ConcatDataset": "np.concatenate joins arrays; data.Rows([first, second]) reads files by rows",
    "Sampler": "trainer.fit visits each sample once an epoch; for others index the arrays",
    "RandomSampler": "trainer.fit(shuffle=True) visits samples in a new order every epoch",
    "SequentialSampler": "trainer.fit(shuffle=False) visits samples in order",
    "WeightedRandomSampler": "draw the rows: rng.choice(n, n, p=weights), and index the arrays",
    "read_csv": "write data.load_csv(path, label=column)",
    "loadtxt": "write data.load_csv(path, header=False)",
    "genfromtxt": "write data.load_csv(path, missing=nan)",
    "load": "write data.load_npy(path) or data.load_npz(path)",
    "train_test_split": "write data.random_split(arrays, [0.75, 0.25]), with stratify= labels",
    "KFold": "write data.k_fold(arrays, folds)",
    "StratifiedKFold": "write data.k_fold(arrays, folds, stratify=labels)",
    "StandardScaler": "write scaling = data.standard_scaling(train), then scaling(x)",
    "MinMaxScaler": "write scaling = data.range_scaling(train), then scaling(x)",
    "Normalize": "write scaling = data.standard_scaling(train), then scaling(x)",
}

_AUGMENTATIONS = {
    "CutOut": "write augment.Cutout(length)",
    "ColorJitter": "write nn.Sequential of augment.RandomBrightness, RandomContrast and "
    "RandomSaturation",
    "GaussianNoise": "write augment.RandomNoise(std)",
    "MixUp": "write augment.Mixup(alpha, num_classes)",
    "RandomAffine": "write nn.Sequential of augment.RandomRotate, RandomTranslate, RandomScale and "
    "RandomShear",
    "RandomErasing": "write augment.Cutout(length)",
    "RandomFlip": "write augment.RandomMirror(p)",
    "RandomHorizontalFlip": "write augment.RandomMirror(p)",
    "RandomRotation": "write augment.RandomRotate(degrees)",
    "RandomTranslation": "write augment.RandomTranslate(translate)",
    "RandomVerticalFlip": "write augment.RandomMirror(p, vertical=True)",
    "RandomZoom": "write augment.RandomScale(scale)",
}

NAMESPACES = {
    "gradc": _FUNCTIONS,
    "gradc.augment": _AUGMENTATIONS,
    "gradc.nn": _LAYERS,
    "gradc.nn.functional": _FUNCTIONS,
    "gradc.optim": _OPTIMIZERS,
    "gradc.optim.schedule": _SCHEDULES,
    "gradc.init": _INITIALIZERS,
    "gradc.special": _FUNCTIONS,
    "gradc.linalg": _FUNCTIONS | _LINEAR_ALGEBRA,
    "gradc.random": _RANDOM,
    "gradc.data": _DATA,
}

# Namespaces of PyTorch that do not exist here, and what the names in them are.
PATHS = {
    "gradc": {"utils": _DATA},
    "gradc.nn": {"utils": _UTILITIES},
    "gradc.optim": {"lr_scheduler": _SCHEDULES},
}

ARGUMENTS = {
    "axis": ("dim", "dims"),
    "keepdims": ("keepdim",),
    "start_axis": ("start_dim",),
    "end_axis": ("end_dim",),
    "x": ("input", "a"),
    "input": ("x",),
    "parameters": ("params",),
}
"""By our name, of arguments that are the same thing in every function that has them."""

ARGUMENTS_OF: dict[tuple[str, ...], dict[str, tuple[str, ...]]] = {
    ("permute_dims", "tensordot", "transpose"): {"axes": ("dims",)},
    (
        "diag_embed", "diagonal", "diagonal_scatter", "trace",
    ): {"axis1": ("dim1",), "axis2": ("dim2",)},
    ("swapaxes",): {"axis1": ("dim0", "axis0"), "axis2": ("dim1",)},
    (
        "add", "allclose", "array_equal", "atan2", "bitwise_and", "bitwise_left_shift",
        "bitwise_or", "bitwise_right_shift", "bitwise_xor", "copysign", "cross", "dist", "divide",
        "dot", "equal", "floor_divide", "fmax", "fmin", "fmod", "gcd", "greater", "greater_equal",
        "hypot", "inner", "isclose", "kron", "lcm", "less", "less_equal", "logaddexp",
        "logaddexp2", "logical_and", "logical_or", "logical_xor", "matmul", "maximum", "minimum",
        "multiply", "nextafter", "not_equal", "outer", "pow", "remainder", "rsub", "subtract",
        "tensordot", "vdot", "vecdot", "where", "xlog1py", "xlogy", "zeta",
    ): {"y": ("other",)},
    (
        "column_stack", "concat", "concatenate", "dstack", "hstack", "stack", "vstack",
    ): {"arrays": ("tensors",)},
    (
        "bernoulli", "beta", "binomial", "bits", "broadcast_to", "empty", "exponential", "full",
        "gamma", "geometric", "gumbel", "laplace", "lognormal", "normal", "ones", "poisson",
        "randint", "uniform", "zeros",
    ): {"shape": ("size",)},
    ("std", "std_mean", "var", "var_mean"): {"correction": ("ddof", "unbiased")},
    ("histogram",): {"weight": ("weights",)},
    ("tile",): {"repetitions": ("reps", "dims")},
    ("roll",): {"shift": ("shifts",)},
    ("split",): {"sizes": ("split_size_or_sections", "split_size")},
    (
        "index_add", "index_copy", "index_reduce", "masked_scatter", "put", "scatter_add",
    ): {"src": ("source",)},
    ("float_power",): {"y": ("exponent",)},
    ("diag", "tril", "triu"): {"k": ("diagonal",)},
    ("diagflat",): {"k": ("offset",)},
    ("linspace", "logspace"): {"num": ("steps",), "stop": ("end",)},
    ("arange",): {"stop": ("end",)},
    ("clip",): {"min": ("a_min",), "max": ("a_max",)},
    ("rot90",): {"axes": ("dims",)},
    ("isin",): {"elements": ("element",)},
    ("vector_norm",): {"ord": ("p",)},
    ("searchsorted",): {"x1": ("sorted_sequence", "a"), "x2": ("input", "v", "values")},
    (
        "nanpercentile", "nanquantile", "percentile", "quantile",
    ): {"method": ("interpolation",)},
    ("take", "take_along_axis"): {"indices": ("index",)},
}  # fmt: skip
"""By our name too, of arguments that are something else, or have no other name, elsewhere: a `k` is
a diagonal of a matrix, a constant of a layer or a number of winners."""

REFUSED_ARGUMENTS = {
    "out": "a function returns its result: y = gc.exp(x)",
    "inplace": "tensors are values: use the result; the compiler saves memory by itself",
    "device": _TARGET,
    "requires_grad": _TRAINED,
    "layout": "the compiler chooses how a tensor lies in memory",
    "order": "elements are in row-major order",
    "copy": "tensors are values: there is nothing to copy",
    "subok": "a result is a tensor",
    "casting": "operands are promoted by the Array API's rules; x.astype(dtype) converts",
    "initial": "combine the results: gc.maximum(gc.max(x), value)",
    "rounding_mode": 'it is an argument of gc.divide(x, y, rounding_mode="floor")',
    "decimals": "it is an argument of gc.round(x, decimals)",
    "constant_values": "write value=",
    "pad_width": "write pad=, margins of the last axis first",
    "indices_or_sections": "gc.split takes sizes: one for all parts, or a list of them",
    "chunks": "gc.split takes sizes: one for all parts, or a list of them",
    "size_average": 'write reduction="mean" or reduction="sum"',
    "reduce": 'write reduction="none", "mean" or "sum"',
    "return_indices": "gc.argmax gives positions",
    "generator": "the seed is given when a program is compiled: gc.compile(x, seed=0)",
    "seed": "the seed is given when a program is compiled: gc.compile(x, seed=0)",
    "learning_rate": "write lr=",
    "epsilon": "write eps=",
    "beta_1": "write betas=(beta1, beta2)",
    "beta_2": "write betas=(beta1, beta2)",
    "decay": "write weight_decay=, or a schedule as lr=",
    "batch_first": "the batch is the first axis",
    "max_norm": "rows are read as they are: gc.normalize limits what is read",
    "enable_nested_tensor": "tensors are never nested: leave it out",
    "mask_check": "masks are read as they are: leave it out",
    "sparse": "the compiler sees which rows a batch reads: plain SGD walks these alone",
}


_TABLES_OF: dict[str, list[dict[str, tuple[str, ...]]]] = {}
for _functions, _table in ARGUMENTS_OF.items():
    for _function in _functions:
        _TABLES_OF.setdefault(_function, []).append(_table)


REFUSED_ARGUMENTS_OF = {
    ("scatter", "reduce"): 'write gc.scatter_reduce(x, axis, index, src, reduce="sum"), or "prod"; '
    "gc.scatter_add adds",
}
"""Of one function, where its name of an argument means something else than elsewhere."""


def names_of_argument(function: str, own: str) -> tuple[str, ...]:
    """The names that a function takes for an argument beside our own."""
    for table in _TABLES_OF.get(function, ()):
        if others := table.get(own, ()):
            return others
    return ARGUMENTS.get(own, ())
