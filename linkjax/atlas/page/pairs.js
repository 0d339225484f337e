// Counterfactuals: pairs of classes, and the units that recur in their transitions.
"use strict";
(() => {
  Atlas.flipsOf = () => "";
})();
