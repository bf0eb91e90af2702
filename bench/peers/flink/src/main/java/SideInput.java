import java.util.HashMap;
import java.util.Map;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ScalarFunction;

/** The side table of q13 in memory: 10,000 rows, the fastest look-up that Flink can have. */
public class SideInput extends ScalarFunction {
  private transient Map<Long, String> rows;

  @Override
  public void open(FunctionContext context) {
    rows = new HashMap<>();
    for (long key = 0; key < 10_000; key++) {
      rows.put(key, "side " + key);
    }
  }

  public String eval(Long key) {
    return rows.get(key);
  }
}
