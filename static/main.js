// Starts the parts of the page.

import { openMenu } from "./cart.js";
import { openExperiment } from "./experiment.js";
import { openCounter } from "./order.js";
import { openTraces } from "./trace.js";

openMenu();
openCounter();
openTraces();
openExperiment();
