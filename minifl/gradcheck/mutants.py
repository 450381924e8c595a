"""Plausible wrong backward passes. A suite that lets one of them through has not checked anything.

Each mutant replaces one backward function by a wrong one and stands for a mistake that people make. `caught`
runs the same checks as for the right one and asks whether at least one fails or breaks down.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from unittest import mock

from minifl.gradcheck import (checks, wrong, wrong_activations, wrong_attention, wrong_batchnorm, wrong_fast,
                              wrong_networks, wrong_norms, wrong_objectives)
from minifl.gradcheck.cases import CASES
from minifl.layers import norm, weights
from minifl.models import blocks, cnn, resnet, vit


@dataclass(frozen=True)
class Mutant:
    """wrong(dy, cache) instead of the layer's backward; for networks it replaces `attribute` of `module`."""
    layer: str
    mistake: str
    wrong: Callable
    module: object = None
    attribute: str = ""


def caught(mutant: Mutant, seed: int = 0) -> list[str]:
    """The names of the instruments that notice, in order; a backward that raises is noticed as "error"."""
    if mutant.module is not None:
        with mock.patch.object(mutant.module, mutant.attribute, mutant.wrong):
            results = _results(checks.check_networks, seed, mutant.layer)
    else:
        results = [result for number, case in enumerate(CASES) if case.layer == mutant.layer
                   for result in _results(checks.check_case, replace(case, backward=mutant.wrong), number, seed)]
    return list(dict.fromkeys(r if isinstance(r, str) else r.instrument for r in results
                              if isinstance(r, str) or not r.passed))


def _results(check, *arguments):
    try:
        return list(check(*arguments))
    except Exception:  # whatever a wrong backward raises: shapes that do not fit, mostly
        return ["error"]


PLAIN, FN, LN, REDUCED, GN = (f"cnn: {kind}, after, static, bias none, relu"
                              for kind in ("none", "fn", "ln", "ln-reduced", "gn"))
LEARNABLE = "cnn: ln, after, learnable, bias all, leaky-relu"
BN = "resnet: bn, after, static, bias none, relu"
RES, RES_LN, INSIDE = (f"resnet: {kind}, after, static, bias none, relu" for kind in ("none", "ln", "fn-mv-inside"))
STANDARDIZED = "resnet: fn, standardized, cosine"
BLOCK, NORM = (resnet.ResNet, "_block_backward"), (blocks, "normalize_backward")
PRE, POST = "vit: ln, before, 2 blocks", "vit: ln, after, static, bias none, relu, class"

MUTANTS = (
    Mutant("linear", "dx with W instead of its transpose", wrong.linear_untransposed),
    Mutant("linear", "dW divided by the batch a second time", wrong.linear_weight_mean),
    Mutant("linear", "db as a mean over examples", wrong.linear_bias_mean),
    Mutant("linear", "dW summed over the clients", wrong.linear_clients_summed),
    Mutant("flatten", "unflattened channel first", wrong.flatten_channel_first),
    Mutant("conv2d", "dx with the kernel flipped", wrong.conv_flipped),
    Mutant("conv2d", "dW with rows and columns exchanged", wrong.conv_kernel_transposed),
    Mutant("conv2d", "dx not cropped by the padding", wrong.conv_padding_not_removed),
    Mutant("conv2d", "dx overwritten where patches overlap", wrong.conv_overwritten),
    Mutant("conv2d", "db as a mean over pixels", wrong.conv_bias_mean_over_pixels),
    Mutant("conv2d", "dW divided by the batch a second time", wrong.conv_weight_mean),
    Mutant("max_pool2d", "gradient spread over the window", wrong.max_pool_spread),
    Mutant("max_pool2d", "gradient overwritten where windows overlap", wrong.max_pool_overwritten),
    Mutant("max_pool2d", "winner's row and column exchanged", wrong.max_pool_column_major),
    Mutant("avg_pool2d", "not divided by the window", wrong.avg_pool_not_divided),
    Mutant("avg_pool2d", "gradient overwritten where windows overlap", wrong.avg_pool_overwritten),
    Mutant("global_avg_pool", "divided by the height only", wrong.global_pool_divided_by_height),
    Mutant("global_avg_pool", "not divided by the map", wrong.global_pool_not_divided),
    Mutant("relu", "mask taken from the gradient", wrong_activations.relu_mask_of_gradient),
    Mutant("relu", "no mask", wrong_activations.relu_straight_through),
    Mutant("leaky_relu", "slope dropped", wrong_activations.leaky_slope_dropped),
    Mutant("leaky_relu", "slope on both sides", wrong_activations.leaky_slope_on_both_sides),
    Mutant("elu", "slope 1 below 0", wrong_activations.relu_straight_through),
    Mutant("elu", "slope alpha below 0", wrong_activations.elu_slope_alpha_below_0),
    Mutant("elu", "y for y + alpha", wrong_activations.elu_y_for_y_plus_alpha),
    Mutant("elu", "alpha taken as 1", wrong_activations.elu_alpha_taken_as_1),
    Mutant("gelu", "no density term", wrong_activations.gelu_without_density),
    Mutant("gelu", "density not times x", wrong_activations.gelu_density_without_x),
    Mutant("gelu", "density without 1/sqrt(2 pi)", wrong_activations.gelu_density_not_normalized),
    Mutant("gelu", "derivative of the tanh approximation", wrong_activations.gelu_of_the_tanh_approximation),
    Mutant("sigmoid", "y (1 + y)", wrong_activations.sigmoid_plus),
    Mutant("sigmoid", "y alone", wrong_activations.sigmoid_only_once),
    Mutant("silu", "no x s (1 - s)", wrong_activations.silu_only_sigmoid),
    Mutant("silu", "x forgotten", wrong_activations.silu_without_x),
    Mutant("silu", "x for its sigmoid", wrong_activations.silu_of_its_input),
    Mutant("softplus", "sigmoid(-x)", wrong_activations.softplus_of_minus_x),
    Mutant("softplus", "exp(x)", wrong_activations.softplus_exp),
    Mutant("softplus", "ReLU's derivative", wrong_activations.softplus_relus),
    Mutant("tanh", "y not squared", wrong_activations.tanh_of_its_square),
    Mutant("tanh", "the sigmoid's derivative", wrong_activations.tanh_sigmoids),
    Mutant("tanh", "1 + y²", wrong_activations.tanh_sign),
    Mutant("softmax_cross_entropy", "missing 1/N", wrong.loss_not_averaged),
    Mutant("softmax_cross_entropy", "averaged over clients, too", wrong.loss_averaged_over_clients),
    Mutant("softmax_cross_entropy", "label not subtracted", wrong.loss_without_label),
    Mutant("softmax_cross_entropy", "sign", wrong.loss_sign),
    Mutant("softmax_cross_entropy", "incoming gradient ignored", wrong.loss_cotangent_ignored),
    Mutant("softmax_cross_entropy", "softmax differentiated twice", wrong.loss_derivative_of_softmax_again),
    Mutant("smoothed_cross_entropy", "not smoothed", wrong_objectives.smoothed_not_at_all),
    Mutant("smoothed_cross_entropy", "the label's own part not reduced", wrong_objectives.smoothed_label_not_reduced),
    Mutant("smoothed_cross_entropy", "spread over the other classes", wrong_objectives.smoothed_over_the_other_classes),
    Mutant("smoothed_cross_entropy", "sign of the smoothing", wrong_objectives.smoothed_sign),
    Mutant("smoothed_cross_entropy", "smoothing without 1/N", wrong_objectives.smoothed_part_not_averaged),
    Mutant("smoothed_cross_entropy", "incoming gradient ignored", wrong_objectives.smoothed_cotangent_ignored),
    Mutant("shift", "treated as the identity", wrong_norms.shift_identity),
    Mutant("shift", "sum for mean", wrong_norms.shift_sum),
    Mutant("shift", "mean over the batch", wrong_norms.shift_mean_over_batch),
    Mutant("feature_norm", "no radial term", wrong_norms.fn_no_radial),
    Mutant("feature_norm", "sqrt(d) forgotten", wrong_norms.fn_no_root_d),
    Mutant("feature_norm", "radial term not divided by d", wrong_norms.fn_radial_summed),
    Mutant("feature_norm", "radial term below the clamp, too", wrong_norms.fn_radial_below_clamp),
    Mutant("feature_norm", "radial term averaged over the batch", wrong_norms.fn_radial_over_batch),
    Mutant("mv_norm", "no centring", wrong_norms.mv_no_centring),
    Mutant("mv_norm", "no radial term", wrong_norms.mv_no_radial),
    Mutant("mv_norm", "missing 1/sigma", wrong_norms.mv_no_sigma),
    Mutant("mv_norm", "unbiased sigma, 1/(d-1)", wrong_norms.mv_unbiased),
    Mutant("group_norm", "statistics over all channels", wrong_norms.gn_one_group),
    Mutant("group_norm", "channels interleaved", wrong_norms.gn_interleaved),
    Mutant("instance_norm", "statistics over all channels", wrong_norms.gn_one_group),
    Mutant("instance_norm", "no centring", wrong_norms.in_no_centring),
    Mutant("instance_norm", "no radial term", wrong_norms.in_no_radial),
    Mutant("rms_norm", "no radial term", wrong_norms.rms_no_radial),
    Mutant("rms_norm", "radial term not divided by d", wrong_norms.rms_radial_summed),
    Mutant("rms_norm", "centred like layer norm", wrong_norms.rms_centred),
    Mutant("rms_norm", "divided by the mean square", wrong_norms.rms_variance_for_sigma),
    Mutant("rms_norm", "radial term as if eps were 0", wrong_norms.rms_eps_ignored),
    Mutant("layer_norm", "gain not applied to the incoming gradient", wrong_norms.ln_gain_forgotten),
    Mutant("layer_norm", "no centring", wrong_norms.ln_no_centring),
    Mutant("layer_norm", "no radial term", wrong_norms.ln_no_radial),
    Mutant("layer_norm", "divided by the variance", wrong_norms.ln_variance_for_sigma),
    Mutant("layer_norm", "radial term as if eps were 0", wrong_norms.ln_eps_ignored),
    Mutant("layer_norm", "dgain divided by the batch", wrong_norms.ln_gain_averaged),
    Mutant("affine", "dgain from the output", wrong_norms.affine_gain_uses_output),
    Mutant("affine", "gain not applied to the incoming gradient", wrong_norms.affine_gain_not_applied),
    Mutant("affine", "sum over places forgotten", wrong_norms.affine_last_place_only),
    Mutant("batch_norm", "no centring", wrong_batchnorm.bn_no_centring),
    Mutant("batch_norm", "no radial term", wrong_batchnorm.bn_no_radial),
    Mutant("batch_norm", "statistics over all clients", wrong_batchnorm.bn_over_clients),
    Mutant("batch_norm", "statistics of each example", wrong_batchnorm.bn_of_each_example),
    Mutant("batch_norm", "statistics of each place", wrong_batchnorm.bn_of_each_place),
    Mutant("batch_norm", "unbiased sigma, 1/(m-1)", wrong_batchnorm.bn_unbiased),
    Mutant("batch_norm", "statistics taken as constants", wrong_batchnorm.bn_treated_as_fixed),
    Mutant("batch_norm", "divided by the variance", wrong_batchnorm.bn_variance_for_sigma),
    Mutant("batch_norm", "radial term as if eps were 0", wrong_batchnorm.bn_eps_ignored),
    Mutant("batch_norm_fixed", "divided by the variance", wrong_batchnorm.bn_fixed_variance_for_sigma),
    Mutant("batch_norm_fixed", "multiplied by sigma", wrong_batchnorm.bn_fixed_multiplied),
    Mutant("batch_norm_fixed", "centred, as while training", wrong_batchnorm.bn_fixed_centred),
    Mutant("standardize", "no centring", wrong_batchnorm.ws_no_centring),
    Mutant("standardize", "no radial term", wrong_batchnorm.ws_no_radial),
    Mutant("standardize", "means over the outputs", wrong_batchnorm.ws_over_outputs),
    Mutant("standardize", "means over each input channel", wrong_batchnorm.ws_over_kernel),
    Mutant("standardize", "sqrt(n) forgotten", wrong_batchnorm.ws_no_root_n),
    Mutant("standardize", "treated as the identity", wrong_batchnorm.straight_through),
    Mutant("unit_columns", "no radial term", wrong_batchnorm.unit_no_radial),
    Mutant("unit_columns", "radial term below the clamp, too", wrong_batchnorm.unit_radial_below_clamp),
    Mutant("unit_columns", "radial term along the classes", wrong_batchnorm.unit_along_classes),
    Mutant("unit_columns", "sqrt(D) forgotten", wrong_batchnorm.unit_no_root_d),
    Mutant("unit_columns", "treated as the identity", wrong_batchnorm.straight_through),
    Mutant("decorrelation", "no radial term", wrong_objectives.decorrelation_no_radial),
    Mutant("decorrelation", "factor 2 for 4", wrong_objectives.decorrelation_factor_2),
    Mutant("decorrelation", "divided by N once", wrong_objectives.decorrelation_divided_by_n_once),
    Mutant("decorrelation", "divided by D once", wrong_objectives.decorrelation_divided_by_d_once),
    Mutant("decorrelation", "missing 1/s", wrong_objectives.decorrelation_no_sigma),
    Mutant("decorrelation", "unbiased s, 1/(N-1)", wrong_objectives.decorrelation_unbiased),
    Mutant("decorrelation", "radial term over the features", wrong_objectives.decorrelation_along_features),
    Mutant("decorrelation", "radial term as if eps were 0", wrong_objectives.decorrelation_eps_ignored),
    Mutant("decorrelation", "diagonal of C left out", wrong_objectives.decorrelation_off_diagonal),
    Mutant("decorrelation", "Gram matrices summed", wrong_objectives.decorrelation_clients_summed),
    Mutant("decorrelation", "incoming gradient ignored", wrong_objectives.decorrelation_cotangent_ignored),
    Mutant("decorrelation_released", "diagonal of h'h, too", wrong_objectives.released_with_diagonal),
    Mutant("decorrelation_released", "diagonal taken for a constant", wrong_objectives.released_diagonal_held_fixed),
    Mutant("decorrelation_released", "biased radial term, 1/N", wrong_objectives.released_biased),
    Mutant("decorrelation_released", "divided by D² for D (D-1)", wrong_objectives.released_divided_by_d_squared),
    Mutant("decorrelation_released", "the published form's", wrong_objectives.released_is_published),
    Mutant("model_contrastive", "no radial term", wrong_objectives.contrast_no_radial),
    Mutant("model_contrastive", "radial term below the clamp, too", wrong_objectives.contrast_radial_below_clamp),
    Mutant("model_contrastive", "temperature forgotten", wrong_objectives.contrast_no_temperature),
    Mutant("model_contrastive", "missing 1/N", wrong_objectives.contrast_not_averaged),
    Mutant("model_contrastive", "sign: away from the server's feature", wrong_objectives.contrast_sign),
    Mutant("model_contrastive", "weighted by the positive's softmax", wrong_objectives.contrast_weight_of_the_positive),
    Mutant("model_contrastive", "softplus taken for the identity", wrong_objectives.contrast_not_saturating),
    Mutant("model_contrastive", "products for cosines", wrong_objectives.contrast_raw_feature),
    Mutant("positive_hinge", "no radial term of the feature", wrong_objectives.hinge_no_radial_feature),
    Mutant("positive_hinge", "no radial term of the embedding", wrong_objectives.hinge_no_radial_weight),
    Mutant("positive_hinge", "radial term below the clamp, too", wrong_objectives.hinge_radial_below_clamp),
    Mutant("positive_hinge", "dweight to every class", wrong_objectives.hinge_to_every_class),
    Mutant("positive_hinge", "dweight of a class's last example", wrong_objectives.hinge_last_of_a_class),
    Mutant("positive_hinge", "no gradient for the embeddings", wrong_objectives.hinge_embedding_detached),
    Mutant("positive_hinge", "dweight without 1/N", wrong_objectives.hinge_weight_not_averaged),
    Mutant("positive_hinge", "hinge not squared", wrong_objectives.hinge_not_squared),
    Mutant("positive_hinge", "factor 2 missing", wrong_objectives.hinge_no_factor_2),
    Mutant("positive_hinge", "beyond the margin, too", wrong_objectives.hinge_no_mask),
    Mutant("positive_hinge", "sign", wrong_objectives.hinge_sign),
    Mutant("spreadout", "pairs counted once", wrong_objectives.spreadout_pairs_once),
    Mutant("spreadout", "no radial term", wrong_objectives.spreadout_no_radial),
    Mutant("spreadout", "hinge not squared", wrong_objectives.spreadout_not_squared),
    Mutant("spreadout", "beyond the margin, too", wrong_objectives.spreadout_no_mask),
    Mutant("spreadout", "the other embedding not normalized", wrong_objectives.spreadout_raw_embeddings),
    Mutant("spreadout", "averaged over clients", wrong_objectives.spreadout_clients_averaged),
    Mutant("attention", "softmax's weighted mean of dp left out", wrong_attention.softmax_without_mean),
    Mutant("attention", "softmax's mean of dp unweighted", wrong_attention.softmax_unweighted_mean),
    Mutant("attention", "softmax's mean over the queries", wrong_attention.softmax_along_queries),
    Mutant("attention", "softmax treated as the identity", wrong_attention.softmax_forgotten),
    Mutant("attention", "scale forgotten", wrong_attention.scale_forgotten),
    Mutant("attention", "scale of all heads together", wrong_attention.scale_of_all_heads),
    Mutant("attention", "dq and dk exchanged", wrong_attention.query_and_key_exchanged),
    Mutant("attention", "dk with the scores' gradient untransposed", wrong_attention.key_untransposed),
    Mutant("attention", "dv with the weights untransposed", wrong_attention.value_untransposed),
    Mutant("attention", "weights treated as constants", wrong_attention.weights_detached),
    Mutant("attention", "heads interleaved", wrong_attention.heads_interleaved),
    Mutant("add_position", "dposition as a mean over examples", wrong_attention.position_mean),
    Mutant("add_position", "dposition summed over the clients", wrong_attention.position_clients_summed),
    Mutant("add_position", "dposition one place off", wrong_attention.position_one_place_off),
    Mutant("prepend_token", "dtoken of the first example alone", wrong_attention.token_first_example),
    Mutant("prepend_token", "dtoken summed over the clients", wrong_attention.token_clients_summed),
    Mutant("prepend_token", "token taken for the last", wrong_attention.token_taken_for_the_last),
    Mutant("first_token", "gradient spread over the tokens", wrong_attention.first_token_spread),
    Mutant("first_token", "gradient to the last token", wrong_attention.first_token_last),
    Mutant("fast.conv2d", "dx of one tile where two meet", wrong_fast.conv_tile_shared_rows_once),
    Mutant("fast.conv2d", "dW without the last point of minimal filtering", wrong_fast.conv_point_left_out),
    Mutant("fast.conv2d", "dx of the left edge left out", wrong_fast.conv_edge_left_out),
    Mutant("fast.max_pool2d", "gradient overwritten where windows overlap", wrong_fast.max_pool_overwritten),
    Mutant("fast.max_pool2d", "winner's row and column exchanged", wrong_fast.max_pool_row_and_column_exchanged),
    Mutant(PLAIN, "conv2's input gradient halved",
           wrong_networks.conv_input_gradient_halved, blocks, "conv2d_backward"),
    Mutant(FN, "backward skips the feature norm", wrong_networks.norm_skipped, *NORM),
    Mutant(LN, "activation and norm undone in the wrong order", wrong_networks.unit_order, cnn, "unit_backward"),
    Mutant(LN, "backward skips the inner norms", wrong_networks.inner_norm_skipped, *NORM),
    Mutant(REDUCED, "backward skips the shifts", wrong_networks.inner_norm_skipped, *NORM),
    Mutant(GN, "backward skips the inner norms", wrong_networks.inner_norm_skipped, *NORM),
    Mutant(LEARNABLE, "gain not applied in the network", wrong_norms.affine_gain_not_applied, norm, "affine_backward"),
    Mutant(PRE, "gradient through the shortcuts dropped", wrong_attention.shortcut_dropped, vit.ViT, "_block_backward"),
    Mutant(PRE, "gradient through the branches dropped", wrong_attention.branch_dropped, vit.ViT, "_block_backward"),
    Mutant(PRE, "x as key hands nothing back", wrong_attention.key_not_added, vit.ViT, "_attend_backward"),
    Mutant(PRE, "backward skips the norms", wrong_networks.norm_skipped, vit, "normalize_backward"),
    Mutant(PRE, "mean of the tokens not divided", wrong.global_pool_not_divided, vit, "global_avg_pool_backward"),
    Mutant(POST, "shortcuts bypass the norm", wrong_attention.shortcut_around_the_norm, vit.ViT, "_block_backward"),
    Mutant(RES, "shortcut's gradient dropped", wrong_networks.shortcut_dropped, *BLOCK),
    Mutant(RES, "shortcut's gradient counted twice", wrong_networks.shortcut_twice, *BLOCK),
    Mutant(RES, "branch's input gradient dropped", wrong_networks.branch_dropped, *BLOCK),
    Mutant(RES, "projection's input gradient dropped", wrong_networks.projection_input_dropped, *BLOCK),
    Mutant(RES, "shortcut's gradient not through the last ReLU", wrong_networks.shortcut_behind_the_activation, *BLOCK),
    Mutant(RES, "average pool not divided", wrong.avg_pool_not_divided, resnet, "avg_pool2d_backward"),
    Mutant(RES_LN, "backward skips the norms at blocks' ends", wrong_networks.block_norm_skipped, *NORM),
    Mutant(INSIDE, "backward skips the norms inside blocks", wrong_networks.branch_norm_skipped, *NORM),
    Mutant(BN, "statistics taken as constants",
           wrong_networks.batch_norm_treated_as_fixed, *NORM),
    Mutant(STANDARDIZED, "feature norm skipped", wrong_networks.norm_skipped, resnet, "normalize_backward"),
    Mutant(STANDARDIZED, "chain through the standardization skipped",
           wrong_batchnorm.straight_through, weights, "standardize_backward"),
    Mutant(STANDARDIZED, "chain through the unit columns skipped",
           wrong_batchnorm.straight_through, weights, "unit_columns_backward"),
)
