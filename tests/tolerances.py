"""Every tolerance of the tests, with its reason. Max-abs, or relative to the largest value of the reference array.

What comparisons take of them, by scripts/numerics/measure_tolerances.py (docs/figures/tolerances.json: an AMD EPYC
with AVX-512, tests of operations, models, analysis, converters): at most 0.7, but for half precision, whose own
rounding they state. Float32 sums of n products in another order differ by about √n roundings
of 6e-8 of the largest; where a line gives no other reason, that is it.
"""

# -- colour and region metrics
COLOR = 2e-6  # relative to the range: a float32 power and cube root, a few roundings each
REGIONS = 1e-5  # relative to each column's largest value; measured 7e-7 for means, 1.2e-7 for geometry
# A byte image's luma can lie exactly between two bins; linkjax rounds up exactly, float64 either way by its own
# rounding. Two such pixels in 55 296 move an entropy by 4e-6 of its value.
ENTROPY_TIES = 1e-5
LOCAL_ENTROPY = 2e-6  # bits: 256 terms up to 81 · 6.3, in float32, over 81; measured 7e-7
BATCHING = 2e-6  # relative to the largest value: the same sums in another order
SWEEP = 2e-5  # of slopes of order 1: differences of float32 sums over a few steps, through three matrix products
COUNTERFACTUAL_F64 = 1e-12  # relative to the largest value, five gradient steps against the original's
COUNTERFACTUAL_F32 = 1e-5  # the same in float32: five steps of size 0.5 through two products and a cosine
PATH = 1e-3  # absolute, of t and probabilities: activations of 20 through a float32 pseudo-inverse
# Relative: float32 proximal steps against a general solver in float64; flat at the optimum; measured 5e-3
MINIMAL_LENGTH = 1e-2

# -- classifiers, segmenter and preprocessing, relative to the reference tensor's largest value
# Of ResNet-50's last map: the reference is one float32 run of PyTorch and itself 1.5e-5 from float64. On another
# processor PyTorch is 4e-6 from it, linkjax 8.5e-6 on one AMD EPYC and 1.24e-5 on another: XLA orders its sums by the
# processor.
# Below 4e-6 elsewhere (scripts/numerics/measure_parity.py).
CLASSIFIER = 2e-5
# Imported graphs: PyTorch's sums in another order, through a few layers; measured 6e-7, gradients 2e-6
GRAPH = 5e-6
GRAPH_GRADIENT = 2e-5
SEGMENTER = 4e-6  # up to nine convolutions; measured 1.4e-6
PARTS = 1e-5  # relative to the largest score: synthesis compiled together with the head, and apart from it
PARTS_SLOPE = 2e-2  # relative: a central difference of step 0.01 in float32, of a slope of order 0.01
SEGMENTER_GRADIENT = 1e-4  # largest derivative at the end of training, of an objective of order 1 in float32
SEGMENTER_OBJECTIVE = 1e-5  # relative: float32 sums against float64
PREPROCESS = 1e-6  # absolute, of values about 2: the bytes are equal, then two divisions and a difference

# -- the link, relative to the largest value unless said otherwise
MOMENTS = 1e-13  # float64 sums in another order; measured 2e-15
MOMENTS_FLOAT32 = 1e-6  # of the largest entry: float32 products within a batch; measured 2e-7 at 30 000 samples
LINK_SOLUTION = 1e-6  # the bound; measured 1e-12 (direct) and 2e-8 (elastic net at a KKT residual of 1e-10)
LINK_FLOAT32 = 1e-6  # a float64 solution rounded to float32, and one float32 product
# scikit-learn solves float32 data in float32, so its own rounding decides; measured 4e-6 where float64 gives 1e-8.
LINK_FLOAT32_REFERENCE = 1e-5
LINK_ERROR = 1e-10  # squared errors from moments against squared errors from samples: one cancellation in float64
LINK_OBJECTIVE = 1e-10  # absolute, of an objective near 1: flat at the optimum, so better than the coefficients
EVALUATION = 1e-10  # float64 sums of another order and formula

# -- stages against single calls, which are other programs: XLA orders sums by the program and its batch. Stages against
# themselves on other devices, in other batches or resumed are compared to the bit, but for what is summed over samples.
STAGE_W = 2e-6  # absolute, of w about 1: matrix products of another batch size
STAGE_R = 2e-5  # relative to the largest: a rounding of the image can move a byte, and so an activation
STAGE_PROBABILITY = 5e-5  # absolute: float32 logits of some tens, of another batch size; measured 1.5e-5
STAGE_LINK = 1e-6  # relative to the largest coefficient: float64 sums in another order, stored as float32
# Relative to the largest: moments summed by each device or process, so that their number decides the order of float64
# sums, or of the host's BLAS, which orders them by the processor; of an mlp also gradients, over a few steps of Adam.
STAGE_DEVICES = 1e-4
STAGE_UNTOUCHED = 1e-4  # relative to the largest: sums over the pixels of one image, in two programs
STAGE_SLOPE = 2e-4  # slopes of order 1 from float32 sums against NumPy's
# Relative to each metric: finite steps cross kinks of leaky ReLUs (the error falls with the step), and float32 rounds.
SCREENING = 2e-2
SCREENING_WAYS = 1e-4  # relative to each metric: the same products in another order, through the moments of parts

# -- generator
GENERATOR_W = 5e-6  # absolute: the bound on ws
GENERATOR = 1e-5  # relative to the tensor's largest value: the bound on layers and images
GENERATOR_BYTES = 5e-4  # share of bytes that may differ by one: values that lie on a step of the truncation
GENERATOR_BATCH = 5e-6  # relative: another batch size sums in another order, and nothing else
WINOGRAD = 2e-6  # relative: sums of a few hundred products in another order, through one more sum before and after

# -- the generator's operations against float64
RESAMPLING = 1e-6  # relative: sums of at most 144 float32 products; measured 3e-7
# Relative: sums of a few hundred products in another order; cubes of them in one test; measured 3.5e-6
DERIVATIVES = 1e-5
CONVOLUTION = 2e-6  # relative: sums of at most 441 float32 products; measured 3e-7
FOURIER = 2e-6  # absolute, of waves of size 1: the rounding of a phase of a few turns; measured 6e-7

# -- synthesis in half precision against float32, relative to the largest value. Unit roundoff is 2⁻⁹ for bfloat16 and
# 2⁻¹² for float16; each layer rounds four times, and the errors of its thousands of products average.
HALF_IMAGES = {"bfloat16": 2e-2, "float16": 4e-3}  # measured 0.8e-2 and 1.6e-3 on random weights
# w 10⁴ times too long: a picture of edges between clamped values, which a rounding moves; measured 0.17 and 0.04
HALF_EXTREME = {"bfloat16": 0.4, "float16": 0.1}
HALF_DERIVATIVES = {"bfloat16": 1e-1, "float16": 3e-2}  # kinks of leaky ReLUs are crossed; measured 4e-2 and 1.2e-2
HALF_LEVELS = {"bfloat16": 4, "float16": 1}  # of a byte, on the embedded world; measured 3 and 1
HALF_R = {"bfloat16": 2e-2, "float16": 4e-3}  # of the largest activation there
HALF_FILTERS = {"bfloat16": 1e-2, "float16": 1.5e-3}  # two roundings between float32 sums of gain about 1
# Relative to the largest value: three products of operands and taps rounded to 11 bits (2⁻¹²); measured 4e-4
FILTER_KERNEL = 6e-4
# Beside one and a half times bfloat16's error without the kernel: a layer's output is rounded once more, before the
# next one's style scales it.
FILTER_KERNEL_LAYERS = 1e-3

# -- motion, pixels unless said otherwise
MOTION_MARGIN = 0.6  # share of scikit-image's endpoint error that ours may have; see scripts/methods/compare_motion.py
MOTION_SHIFT = 0.1  # mean endpoint error of a shift of a real texture, 0.6 and 2 pixels at 64²
MOTION_NONE = 1e-4  # of equal images: their splines meet them to 1e-7, over the slope of the flattest pixels
MOTION_AFFINE = 1e-5  # per pixel, and pixels: twenty float32 solves of order 1; measured 4e-9
MOTION_BATCH = 1e-3  # thousands of float32 steps, compiled for other batch sizes, amplify a rounding; measured 1.5e-5
STAGE_MOTION = 0.1  # a byte that rounds the other way moves the flow near it, in pictures of random weights most of all
