"""What may stand in a ``.cfg``: sections, their options, and which of them this reader passes over.

After the parsers of pjreddie's Darknet and AlexeyAB's. An option that only steers Darknet's own training or
its printing is known and ignored; one that changes what a network computes and is not built here is refused
where it is switched on (``NOT_BUILT``).
"""

from __future__ import annotations

ALIASES = {
    "network": "net",
    "conv": "convolutional",
    "max": "maxpool",
    "avg": "avgpool",
    "soft": "softmax",
    "silence": "empty",
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


COMMON = _words(
    "clip onlyforward dont_update burnin_update stopbackward train_only_bn dontload dontloadscales"
    " learning_rate smooth numload truth dontsave"
)
"""Any layer may have them; all of them concern training, loading or saving."""

_HEAD = (
    " classes num anchors jitter resize random max map focal_loss label_smooth_eps max_delta"
    " counters_per_class"
)

OPTIONS: dict[str, frozenset[str]] = {
    "net": _words(
        "batch subdivisions width height channels inputs momentum decay angle aspect saturation exposure hue"
        " learning_rate learning_rate_min burn_in max_batches policy steps scales seq_scales step scale gamma"
        " power adam B1 B2 eps max_crop min_crop max_ratio min_ratio random center clip flip"
        " blur gaussian_noise mixup cutmix mosaic mosaic_bound letter_box contrastive"
        " contrastive_jit_flip contrastive_color unsupervised"
        " label_smooth_eps resize_step attention adversarial_lr max_chart_loss time_steps track augment_speed"
        " sequential_subdivisions try_fix_nan weights_reject_freq equidistant_point"
        " badlabels_rejection_percentage num_sigmas_reject_badlabels ema_alpha use_cuda_graph loss_scale"
        " dynamic_minibatch optimized_memory workspace_size_limit_MB sgdr_cycle sgdr_mult notruth"
        " show_receptive_field"
    ),
    "convolutional": _words(
        "filters groups size stride stride_x stride_y dilation pad padding activation batch_normalize cbn"
        " flipped binary xnor bin_output antialiasing share_index assisted_excitation sway rotate stretch"
        " stretch_sway angle dot grad_centr reverse coordconv stream wait_stream"
    ),
    "maxpool": _words(
        "size stride stride_x stride_y padding maxpool_depth out_channels antialiasing maxpool_zero_nonmax"
    ),
    "avgpool": _words(""),
    "route": _words("layers groups group_id stream wait_stream"),
    "shortcut": _words("from activation weights_type weights_normalization alpha beta"),
    "reorg": _words("stride reverse flatten extra"),
    "upsample": _words("stride scale"),
    "scale_channels": _words("from scale_wh activation"),
    "sam": _words("from activation"),
    "dropout": _words("probability dropblock dropblock_size_rel dropblock_size_abs"),
    "empty": _words(""),
    "softmax": _words("groups temperature tree spatial noloss"),
    "cost": _words("type scale ratio noobj thresh"),
    "region": _words(
        "coords softmax rescore thresh classfix absolute log sqrt coord_scale object_scale noobject_scale"
        " mask_scale class_scale bias_match tree background" + _HEAD
    ),
    "yolo": _words(
        "mask ignore_thresh truth_thresh scale_x_y new_coords iou_thresh iou_thresh_kind iou_loss"
        " iou_normalizer obj_normalizer cls_normalizer delta_normalizer objectness_smooth nms_kind beta_nms"
        " show_details track_history_size sim_thresh dets_for_track dets_for_show track_ciou_norm"
        " embedding_layer" + _HEAD
    ),
}

DARKNETS_ALONE = _words(
    "Gaussian_yolo detection local local_avg local_avgpool connected conn crop activation rnn crnn gru lstm"
    " conv_lstm history lrn normalization batchnorm contrastive implicit reorg3d deconvolutional deconv iseg"
    " logistic l2norm"
)
"""Sections of Darknet that this reader does not build."""

NOT_BUILT: dict[str, dict[str, str]] = {
    "convolutional": {
        "binary": "0",
        "xnor": "0",
        "antialiasing": "0",
        "sway": "0",
        "rotate": "0",
        "stretch": "0",
        "stretch_sway": "0",
        "dontload": "0",
        "dontloadscales": "0",
        "share_index": "",
        "coordconv": "0",
    },
    "maxpool": {"maxpool_depth": "0", "antialiasing": "0", "maxpool_zero_nonmax": "0"},
    "shortcut": {"weights_type": "none", "alpha": "1", "beta": "1"},
    "reorg": {"reverse": "0", "flatten": "0", "extra": "0"},
    "upsample": {"scale": "1"},
    "scale_channels": {"scale_wh": "0"},
    "region": {"coords": "4", "tree": "", "background": "0"},
}
"""Options that are built at one value only (empty: not at all); ``numload`` is looked at where filters are
known."""
